"""Package metadata; tool settings live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

TEST = ["pytest>=8", "hypothesis>=6.100", "ruff>=0.12", "mypy>=1.15", "types-tqdm"]
BOOK = [
    "sphinx>=8",
    "myst-nb>=1.3",
    "jupytext>=1.16",
    "furo>=2024.8.6",
    "sphinx-design>=0.6",
    "sphinx-copybutton>=0.5.2",
    "sphinx-mathjax-offline>=0.0.2",
    "ipykernel>=6",
]

setup(
    name="tinysmooth",
    version="0.1.0",
    description=(
        "Label smoothing from scratch: a small autograd and convnet in NumPy and Numba that "
        "traces the Inception-v3 argument as runnable evidence"
    ),
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["tinysmooth", "tinysmooth.*"]),
    package_data={"tinysmooth": ["py.typed"]},
    install_requires=[
        "numpy>=2.0",
        "numba>=0.61",
        "matplotlib>=3.9",
        "pillow>=10",
        "tqdm>=4.66",
        "pooch>=1.8",
    ],
    extras_require={"test": TEST, "book": BOOK, "torch": ["torch>=2.5"]},
    entry_points={"console_scripts": ["tinysmooth = tinysmooth.__main__:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Education",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
