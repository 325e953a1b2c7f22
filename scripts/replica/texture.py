"""Fields that look like electron micrographs of tissue, computed from a seed."""


class Texture:
    """Tissue-like fields on a grid of `shape` (z, y, x); lengths are in voxels."""

    def __init__(self, shape, seed, stretch=1.0):
        import numpy

        self.np = numpy
        self.shape = shape
        self.random = numpy.random.Generator(numpy.random.PCG64(seed))
        # z is stretched so that a shallow stack still shows change from slice to slice.
        axes = [numpy.arange(n, dtype=numpy.float64) for n in shape]
        axes[0] = axes[0] * stretch
        self.extent = [axis[-1] + 1 for axis in axes]
        self.axes = axes

    def noise(self, period):
        """Smooth noise of about -1…1 that changes over `period` voxels: a random lattice, interpolated along each axis."""
        np = self.np
        counts = [int(extent / period) + 3 for extent in self.extent]
        field = self.random.uniform(-1.6, 1.6, counts)
        for number, axis in enumerate(self.axes):
            position = axis / period
            low = position.astype(int)
            t = position - low
            weight = t * t * t * (t * (6 * t - 15) + 10)
            sides = [1] * 3
            sides[number] = len(axis)
            weight = weight.reshape(sides)
            field = np.take(field, low, number) * (1 - weight) + np.take(field, low + 1, number) * weight
        return field

    def fractal(self, period, octaves):
        return sum(self.noise(period / 2**n) / 1.7**n for n in range(octaves))

    def grid(self, warp, period):
        """Coordinates bent by noise, so that nothing is straight."""
        z, y, x = self.np.meshgrid(*self.axes, indexing="ij")
        return [axis + warp * self.noise(period) for axis in (z, y, x)]

    def neurites(self, spacing, warp):
        """Cells of a bent Voronoi diagram: distance to the nearest border, the cell, and a value per cell."""
        np = self.np
        z, y, x = self.grid(warp, spacing * 0.9)
        count = int(np.prod([extent / spacing + 1.6 for extent in self.extent]))
        margin = spacing * 0.8
        centres = [self.random.uniform(-margin, extent + margin, count) for extent in self.extent]
        weights = self.random.uniform(0, (spacing * 0.35) ** 2, count)
        first = np.full(self.shape, np.inf)
        second = np.full(self.shape, np.inf)
        owner = np.zeros(self.shape, int)
        for n in range(count):
            distance = (z - centres[0][n]) ** 2 + (y - centres[1][n]) ** 2 + (x - centres[2][n]) ** 2 - weights[n]
            nearer = distance < first
            second = np.where(nearer, first, np.minimum(second, distance))
            owner = np.where(nearer, n, owner)
            first = np.where(nearer, distance, first)
        border = (second - first) / (2 * spacing)
        return border, owner, self.random.uniform(-1, 1, count)

    def mitochondria(self, count, radius, length, avoid=None):
        """Bent capsules: signed distance (negative inside)."""
        np = self.np
        z, y, x = self.grid(radius * 0.45, radius * 2.2)
        nearest = np.full(self.shape, np.inf)
        placed = []
        for _ in range(count * 60):
            if len(placed) == count:
                break
            middle = np.array([self.random.uniform(0.1 * e, 0.9 * e) for e in self.extent])
            size = radius * self.random.uniform(0.75, 1.25)
            direction = self.random.normal(size=3) * [0.6, 1, 1]
            direction /= np.sqrt((direction**2).sum())
            half = length * self.random.uniform(0.15, 1.0)
            voxel = tuple(min(int(m / e * n), n - 1) for m, e, n in zip(middle, self.extent, self.shape))
            crowded = any(np.sqrt(((middle - other) ** 2).sum()) < 3.0 * radius for other in placed)
            if crowded or (avoid is not None and avoid[voxel]):
                continue
            placed.append(middle)
            offset = [z - middle[0], y - middle[1], x - middle[2]]
            along = sum(o * d for o, d in zip(offset, direction)).clip(-half, half)
            distance = np.sqrt(sum((o - along * d) ** 2 for o, d in zip(offset, direction))) - size
            nearest = np.minimum(nearest, distance)
        return nearest

    def cristae(self, period):
        """Thin dark sheets of about 0…1."""
        z, y, x = self.grid(period * 0.9, period * 2.5)
        wave = self.np.sin((0.45 * z + y + 0.35 * x) * (2 * self.np.pi / period))
        return (wave - 0.1).clip(0, 1)

    def vesicles(self, spacing, radius, where):
        """Small rings: dark wall (0…1) of spheres on a jittered lattice, kept where `where` holds at their centre."""
        np = self.np
        z, y, x = np.meshgrid(*self.axes, indexing="ij")
        wall = np.zeros(self.shape)
        counts = [int(extent / spacing) + 1 for extent in self.extent]
        for index in np.ndindex(*counts):
            centre = [(i + self.random.uniform(0.2, 0.8)) * spacing for i in index]
            size = radius * self.random.uniform(0.85, 1.15)
            voxel = tuple(int(c / e * n) for c, e, n in zip(centre, self.extent, self.shape))
            if any(v >= n for v, n in zip(voxel, self.shape)) or not where[voxel]:
                continue
            distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
            wall = np.maximum(wall, line(distance - size, 0.9))
        return wall


def line(distance, width):
    """A soft line of 0…1 where `distance` is near 0."""
    return (1.35 - abs(distance) / width).clip(0, 1)


def neuropil(shape, seed, scale, stretch, grain=0.04):
    """Densely packed neurites with mitochondria: brightness 0…1 and a mask of the mitochondria. `grain`: of the noise."""
    t = Texture(shape, seed, stretch)
    border, owner, tone = t.neurites(27 * scale, 11 * scale)
    light = 0.66 + 0.06 * tone[owner] + 0.04 * t.fractal(9 * scale, 3)
    body = t.mitochondria(11, 8.0 * scale, 15 * scale, avoid=border < 6 * scale)
    mask = (body < 0) & (border > 1.2 * scale)
    light = light - 0.36 * t.vesicles(6.8 * scale, 2.0 * scale, (tone[owner] > 0.35) & (border > 4 * scale) & (body > 4 * scale))
    inside = 0.42 + 0.03 * t.fractal(6 * scale, 2) - 0.17 * t.cristae(4.6 * scale)
    light = t.np.where(mask, inside, light)
    light = light - 0.34 * line(body, 1.2 * scale) * (border > 1.2 * scale)
    membrane = line(border, 1.2 * scale)
    light = light * (1 - 0.72 * membrane) + 0.16 * membrane
    # Postsynaptic densities: thick dark stretches of membrane.
    density = line(border, 2.6 * scale) * (t.noise(20 * scale) * 3 - 1.9).clip(0, 1)
    light = light - 0.24 * density
    return (light + grain * t.noise(1.5)).clip(0, 1), mask


def nucleus(shape, seed):
    """Edge of a nucleus with patches of chromatin, its envelope, and cytoplasm with organelles."""
    t = Texture(shape, seed, 2.2)
    z, y, x = t.grid(9, 46)
    height, width = shape[1], shape[2]
    shell = t.np.sqrt(((z - 25) * 0.9) ** 2 + ((y - 0.50 * height) * 1.12) ** 2 + (x - 0.30 * width) ** 2) - 88
    chromatin = t.fractal(17, 4) + 0.9 * line(shell + 6, 9)
    dense = ((chromatin - 0.15) * 2.4).clip(0, 1)
    nucleolus = (t.noise(48) - 0.85).clip(0, 0.4) * 2.5 * (shell < -25)
    inside = 0.70 - 0.27 * dense - 0.3 * nucleolus + 0.035 * t.fractal(6, 2)
    body = t.mitochondria(7, 9, 20, avoid=shell < 16)
    outside = 0.60 + 0.05 * t.fractal(20, 3)
    reticulum = line(t.fractal(26, 2) * 14, 1.5) * (shell > 7)
    outside = outside - 0.26 * reticulum - 0.12 * (t.fractal(3.6, 2) * 1.5 - 0.9).clip(0, 1)
    organelle = 0.36 + 0.03 * t.fractal(7, 2) - 0.17 * t.cristae(5.2)
    outside = t.np.where(body < 0, organelle, outside) - 0.28 * line(body, 1.4)
    light = t.np.where(shell < 0, inside, outside)
    light = light - 0.34 * line(shell, 1.4) - 0.26 * line(shell - 4.2, 1.2)
    return (light + 0.035 * t.noise(1.5)).clip(0, 1)
