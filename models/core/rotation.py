"""An orthogonal change of basis that leaves no coordinate larger than the others.

A few coordinates of a transformer's hidden state are a thousand times larger than the rest, and eight bits over all of
them leave the rest nothing. Turned by R = diag(signs) (left x right), a Kronecker product, the state is spread evenly;
and since RMS normalisation commutes with R, the turn can be computed into the weights on both sides.  Both factors
are small and flat: Sylvester's Hadamard matrices for the powers of two in the width, Hartley's for the rest.  The signs
were drawn once and for all, so that no direction that training prefers is a row of R.
Source of the idea: Ashkboos et al., QuaRot, 2024.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

SEED: Final = b"hearth rotation 1"
MAX_RIGHT: Final = 64
BLOCK: Final = 32  # coordinates that are turned together where there is no width to turn


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """R of a width, in its factors.  signs: (len(left) * len(right),); left and right: orthogonal and symmetric."""

    signs: Float32Array
    left: Float32Array
    right: Float32Array

    @classmethod
    def of(cls, width: int) -> "Rotation":
        """Make the rotation of a width, a multiple of 8; it is the same on every machine."""
        even = width & -width
        right = min(even, MAX_RIGHT)
        drawn = np.frombuffer(hashlib.shake_256(SEED).digest(width // 8), np.uint8)
        return cls(
            signs=np.unpackbits(drawn).astype(np.float32) * 2 - 1,
            left=np.kron(_hartley(width // even), hadamard(even // right)),
            right=hadamard(right),
        )

    def turn(self, columns: Float32Array) -> Float32Array:
        """Compute R.T @ columns, (width, n); rows @ R is `turn(rows.T).T`."""
        left, right = len(self.left), len(self.right)
        turned = hadamard_product((columns * self.signs[:, None]).reshape(left, right, -1)).reshape(left, -1)
        if left > 1:
            turned = self.left @ turned
        return turned.reshape(columns.shape)


def hadamard_product(x: Float32Array) -> Float32Array:
    """Multiply Hadamard's matrix with x (n, size, m), size a power of two: log2(size) additions for each number."""
    count, size, _ = x.shape
    step = 1
    while step < size:
        pairs = x.reshape(count, size // (2 * step), 2, -1)
        mixed = np.empty_like(pairs)
        np.add(pairs[:, :, 0], pairs[:, :, 1], out=mixed[:, :, 0])
        np.subtract(pairs[:, :, 0], pairs[:, :, 1], out=mixed[:, :, 1])
        x = mixed.reshape(x.shape)
        step *= 2
    x *= np.float32(size**-0.5)
    return x


def hadamard(size: int) -> Float32Array:
    """Make Sylvester's matrix of a power of two, scaled to be orthogonal; it is symmetric."""
    matrix: Float32Array = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix / np.float32(np.sqrt(size))


def _hartley(size: int) -> Float32Array:
    """The matrix of the discrete Hartley transform, cos + sin, scaled to be orthogonal."""
    angles = 2 * np.pi / size * (np.outer(np.arange(size), np.arange(size)) % size)
    matrix: Float32Array = ((np.cos(angles) + np.sin(angles)) / np.sqrt(size)).astype(np.float32)
    return matrix
