"""Convolution, rung by rung: one idea a room, the same three functions in each.

========================  =======================================================================
`definition`              the seven loops of the formula, in plain Python
`im2col`                  windows as a matrix, one matrix product: the **reference**, and float64
`loops`                   the same loops compiled: what a compiler alone makes of them
`winograd`                fewer multiplications through polynomials, derived, in plain NumPy
`fast`                    what runs by default in float32: picks the route that costs least
========================  =======================================================================

Each room has ``conv2d_forward``, ``conv2d_backward_data`` and ``conv2d_backward_weight`` with the
same arguments, and the same tests hold each equal to `definition`. `geometry` explains names and
shapes.

**From ts.conv2d to the stored vector.** What happens to a batch x of 64 images with 32 channels and
64 x 64 pixels under 64 filters of 3x3, in the order of the calls:

1. ``ts.conv2d`` checks everything and sees x as NHWC, the order it already has in memory.
2. ``kernels.conv2d_forward`` asks which set is in use: compiled, so `fast.conv2d_forward`. float32,
   stride 1, 16384 tiles: the least `winograd_costs.cost`, and `winograd_route.convolve` runs.
3. It takes out from the pool of `tinysmooth.kernels.memory`, and from its workspace U and some room
   for each thread: no new page is touched in a steady step. The two calls that follow were prepared
   when these shapes came for the first time (`tinysmooth.kernels.prepared`).
4. `winograd_filters.filters_to_tiles` transforms the filters, in as many threads as they are worth.
   Sixteen filters at a time are transposed to vectors, and their nine taps become 36 numbers:
   U [36][1 panel][32][64].
5. `winograd_tiles.forward_tiles` runs in every thread; of two, thread 0 does tiles 0 to 8191. It
   takes 48 of them at a time:

   a. `winograd_patches.input_tile`, 48 times: 6 x 6 pixels, 16 channels in each vector, through
      `transforms.input_transform`, to V [36][48][32].
   b. `panels.panel_product`, 36 times: M[p] (48, 64) = V[p] (48, 32) @ U[p] (32, 64). Six
      tiles by 64 filters stay in 24 registers while the microkernel walks along the 32 channels;
      two tables of offsets tell it where the tiles and their channels lie. Meanwhile it asks for
      the filters of the next p.
   c. `winograd_patches.output_tile`, 48 times: M through `transforms.output_transform` to 4 x 4
      pixels, and the last instruction of `transforms.make_tile_transform` stores 16 channels of one
      pixel of out. For a BatchNorm behind it `statistics` adds them up while they are at hand.
6. The caller's thread waits for the others and returns out, which ``ts.conv2d`` shows as NCHW.

V, M and one slice of U stay in the 1 MB of L2 cache; x is read once and out is written once.

The other ways out of step 2: with hardly a tile, `winograd_few` transforms filters where it uses
them; with 7x7 filters on small images, or 9 x 9 pixels, `winograd_shared` takes tiles of 3 x 3; for
the gradient of 3x3 filters on up to eight channels, `winograd_bands` makes its values in registers;
one tap is a product of matrices (`products`); with a stride, few channels or much padding,
`windows` lets the same microkernel walk through the image itself, its tables telling where each
window, each tap and each result lies, and `grids` leaves out what falls on padding; and filters too
few for a vector share it between neighbouring windows in `few_filters`.

**How exact.** Largest error relative to the largest number of the result, against float64: at most
2e-5 for out and for the gradient of x (filters of 20x16, whose many shifted parts add up, reached
5e-5), 1e-4 for the gradient of the filters. Without Winograd
(``use_kernels("compiled", winograd=False)``) 2e-6. float64 takes im2col and is exact up to
rounding.

Sources: Chellapilla, Puri and Simard, *High performance convolutional neural networks for document
processing* (2006), im2col; Lavin and Gray, *Fast algorithms for convolutional neural networks*
(2016), F(4x4, 3x3); Goto and van de Geijn, *Anatomy of high-performance matrix multiplication*
(2008), panels.
"""
