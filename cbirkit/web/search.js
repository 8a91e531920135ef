// The pixels that the network takes, as Pillow makes them, and the nearest images. No part of it knows the page.

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
    return [from, weights.map((w) => w / sum)];
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

// RGBA pixels (height, width, 4) as RGB (h, w, 3), uint8.
export function resized(rgba, height, width, how) {
  const [h, w] = how.shape, [fh, fw, top, left] = placed(height, width, how);
  const grows = fh > height || fw > width;
  const filter = FILTERS[grows && how.interpolation === "area" ? "bilinear" : how.interpolation];
  const out = new Uint8ClampedArray(h * w * 3);
  for (let i = 0; i < out.length; i++) out[i] = how.colour[i % 3];
  const y0 = Math.max(0, -top), y1 = Math.min(h, fh - top), x0 = Math.max(0, -left), x1 = Math.min(w, fw - left);
  const columns = windows(width, fw, left + x0, x1 - x0, filter), rows = windows(height, fh, top + y0, y1 - y0, filter);
  const [first] = rows[0], [start, last] = rows[rows.length - 1], n = start + last.length - first;
  const half = new Uint8ClampedArray(n * columns.length * 3); // squeezed from left and right
  for (let y = 0, at = 0; y < n; y++)
    for (const [from, weights] of columns)
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0, p = ((first + y) * width + from) * 4 + c; k < weights.length; k++, p += 4) sum += weights[k] * rgba[p];
        half[at++] = sum;
      }
  const line = columns.length * 3;
  rows.forEach(([from, weights], y) => {
    for (let x = 0; x < line; x++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * half[(from - first + k) * line + x];
      out[((y0 + y) * w + x0) * 3 + x] = sum;
    }
  });
  return new Uint8Array(out.buffer);
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
