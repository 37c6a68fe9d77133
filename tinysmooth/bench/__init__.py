"""The public benchmark: equality first, then time, both sides in turn.

``tinysmooth bench`` runs the parts and writes a table, a JSON file and a picture. PyTorch and the
other libraries are optional: a part without its counterpart reports ours alone.
"""
