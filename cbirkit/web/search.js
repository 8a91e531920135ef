// The pixels that the network takes, as Pillow makes them, and the nearest images. No part of it knows the page.

const BITS = 22, ONE = 2 ** BITS; // weights are whole numbers of so many bits, as in Pillow
const FILTERS = {
  area: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, (x) => {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? ((2.5 - 0.5 * d) * d - 4) * d + 2 : 0;
  }],
};

// For `count` pixels from `first` on, of `n` scaled to `full`: where in the source each begins, and what the pixels weigh.
function windows(n, full, first, count, [support, filter]) {
  const scale = n / full, wide = Math.max(1, scale);
  return Array.from({ length: count }, (_, i) => {
    const centre = (first + i + 0.5) * scale, reach = support * wide;
    const from = Math.max(0, Math.trunc(centre - reach + 0.5)), to = Math.min(n, Math.trunc(centre + reach + 0.5));
    const weights = [];
    for (let j = from; j < to; j++) weights.push(filter((j - centre + 0.5) / wide));
    const sum = weights.reduce((a, b) => a + b, 0) || 1;
    return [from, weights.map((w) => Math.round((w / sum) * ONE))];
  });
}

// Where an image goes: its full height and width, and the corner (top, left) of the result in it, as in Python.
function placed(height, width, { shape: [h, w], resize, crop_ratio }) {
  const even = (x) => { const r = Math.round(x); return Math.abs(x % 1) === 0.5 && r % 2 ? r - 1 : r; };
  if (resize === "squash") return [h, w, 0, 0];
  if (resize === "crop") {
    const [lh, lw] = [h, w].map((side) => Math.floor(side / crop_ratio + 1e-6));
    const [fh, fw] = lh * width >= lw * height
      ? [lh, Math.max(w, Math.trunc((lh * width) / height))] : [Math.max(h, Math.trunc((lw * height) / width)), lw];
    return [fh, fw, even((fh - h) / 2), even((fw - w) / 2)];
  }
  const factor = Math.min(h / height, w / width);
  const [fh, fw] = [height, width].map((side) => Math.max(1, even(side * factor)));
  return [fh, fw, -Math.floor((h - fh) / 2), -Math.floor((w - fw) / 2)];
}

// Pixels squeezed along one direction: `n` lines that begin `line` values apart, pixels in them `step` apart; RGB is written likewise.
function squeezed(pixels, n, line, step, spots, toLine, toStep) {
  const out = new Uint8ClampedArray(n * spots.length * 3);
  for (let i = 0; i < n; i++)
    spots.forEach(([from, weights], j) => {
      for (let c = 0; c < 3; c++) {
        let sum = ONE / 2;
        for (let k = 0, p = i * line + from * step + c; k < weights.length; k++, p += step) sum += weights[k] * pixels[p];
        out[i * toLine + j * toStep + c] = sum >> BITS;
      }
    });
  return out;
}

// RGBA pixels (height, width, 4) as RGB (h, w, 3), uint8.
export function resized(rgba, height, width, how) {
  const [h, w] = how.shape, [fh, fw, top, left] = placed(height, width, how);
  const grows = fh > height || fw > width;
  const filter = FILTERS[grows && how.interpolation === "area" ? "bilinear" : how.interpolation];
  const y0 = Math.max(0, -top), x0 = Math.max(0, -left), line = 3 * (Math.min(w, fw - left) - x0);
  const rows = windows(height, fh, top + y0, Math.min(h, fh - top) - y0, filter), columns = windows(width, fw, left + x0, line / 3, filter);
  const inside = height - fh > 2 * Math.max(0, width - fw) // which way Pillow 13 goes first, which shows in the last bit
    ? squeezed(squeezed(rgba, width, 4, 4 * width, rows, 3, 3 * width), rows.length, 3 * width, 3, columns, line, 3)
    : squeezed(squeezed(rgba, height, 4 * width, 4, columns, line, 3), columns.length, 3, line, rows, 3, line);
  const out = Uint8Array.from({ length: h * w * 3 }, (_, i) => how.colour[i % 3]);
  rows.forEach((_, y) => out.set(inside.subarray(y * line, (y + 1) * line), ((y0 + y) * w + x0) * 3));
  return out;
}

// Positions of the k rows of an Int8Array (n, d) with the largest products with a vector, and these: [[position, cosine], ...].
export function nearest(vector, rows, steps, k, without = -1) {
  const d = vector.length, found = [];
  for (let i = 0; i < steps.length; i++) {
    let sum = 0;
    for (let j = 0, at = i * d; j < d; j++, at++) sum += vector[j] * rows[at];
    if (i !== without) found.push([i, sum * steps[i]]);
  }
  return found.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, k);
}
