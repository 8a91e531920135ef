// Drawing of the map: points, what is marked among them, and where they are on the canvas. No state of the widget here.

const POLYGONS = { // matplotlib's markers in a circle of radius 1, y downward
  s: [[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]],
  "^": [[0, -1], [0.95, 0.75], [-0.95, 0.75]],
  v: [[0, 1], [0.95, -0.75], [-0.95, -0.75]],
  "<": [[-1, 0], [0.75, -0.95], [0.75, 0.95]],
  ">": [[1, 0], [-0.75, -0.95], [-0.75, 0.95]],
  D: [[0, -1.05], [1.05, 0], [0, 1.05], [-1.05, 0]],
  P: [[-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35], [0.35, 1], [-0.35, 1],
    [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35]],
  X: [[-0.9, -0.55], [-0.55, -0.9], [0, -0.35], [0.55, -0.9], [0.9, -0.55], [0.35, 0], [0.9, 0.55], [0.55, 0.9],
    [0, 0.35], [-0.55, 0.9], [-0.9, 0.55], [-0.35, 0]],
  p: [0, 1, 2, 3, 4].map((i) => [Math.sin(i * 1.2566), -Math.cos(i * 1.2566)]),
  "*": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => {
    const r = i % 2 ? 0.45 : 1.1;
    return [r * Math.sin(i * 0.6283), -r * Math.cos(i * 0.6283)];
  }),
};

function traceShape(ctx, shape, x, y, r) {
  ctx.beginPath();
  const corners = POLYGONS[shape];
  if (corners) corners.forEach(([dx, dy], i) => (i ? ctx.lineTo(x + dx * r, y + dy * r) : ctx.moveTo(x + dx * r, y + dy * r)));
  else ctx.arc(x, y, shape === "." ? r * 0.6 : r * 0.9, 0, 2 * Math.PI);
  ctx.closePath();
}

// Black has to be seen on a dark page too, and every point apart from the ones below it.
function drawShape(ctx, group, x, y, r, ink) {
  traceShape(ctx, group.shape, x, y, r);
  ctx.fillStyle = group.colour === "#000000" ? ink.fg : group.colour;
  ctx.fill();
  ctx.lineWidth = Math.max(0.5, r * 0.14);
  ctx.strokeStyle = ink.back;
  ctx.stroke();
}

// The pixels of each group's mark, to be mixed into a picture of the whole map by hand: where no graphics card helps,
// that takes a tenth of the time that as many drawImage calls take.
function makeStencils(legend, r, ratio, ink, width) {
  const size = Math.ceil(2 * (r * 1.2 + 1) * ratio);
  const ctx = Object.assign(document.createElement("canvas"), { width: size, height: size }).getContext("2d", { willReadFrequently: true });
  const stencils = legend.map((group) => {
    ctx.clearRect(0, 0, size, size);
    drawShape(ctx, group, size / 2, size / 2, r * ratio, ink);
    const { data } = ctx.getImageData(0, 0, size, size), places = [], colours = [], alphas = [];
    for (let i = 0; i < size * size; i += 1) {
      if (data[4 * i + 3] < 8) continue;
      places.push(Math.floor(i / size) * width + (i % size));
      colours.push(data[4 * i] | (data[4 * i + 1] << 8) | (data[4 * i + 2] << 16));
      alphas.push(data[4 * i + 3]);
    }
    return { places: Int32Array.from(places), colours: Int32Array.from(colours), alphas: Float32Array.from(alphas) };
  });
  return { size, stencils };
}

// Mix a colour (0x00BBGGRR) into pixels, `share` of 256 parts of it; red and blue are computed as one number.
function mix(pixels, at, { places, colours, alphas }, strength) {
  for (let k = 0; k < places.length; k += 1) {
    const p = at + places[k], share = (alphas[k] * strength) | 0, rest = 256 - share;
    const under = pixels[p], over = colours[k];
    const redBlue = (Math.imul(under & 0xff00ff, rest) + Math.imul(over & 0xff00ff, share)) >>> 8;
    const green = (Math.imul(under & 0xff00, rest) + Math.imul(over & 0xff00, share)) >>> 8;
    pixels[p] = 0xff000000 | (redBlue & 0xff00ff) | (green & 0xff00);
  }
}

// Where the map is: a point (x, y) is at (ox + x * scale, oy - y * scale) in CSS pixels.
class View {
  constructor() { Object.assign(this, { width: 1, height: 1, scale: 1, ox: 0, oy: 0, home: 1, whole: true }); }
  fit(points) {
    let halfX = 1e-6, halfY = 1e-6;
    for (let i = 0; i < points.length; i += 2) {
      halfX = Math.max(halfX, Math.abs(points[i]));
      halfY = Math.max(halfY, Math.abs(points[i + 1]));
    }
    this.home = Math.max(1, Math.min((this.width / 2 - 24) / halfX, (this.height / 2 - 24) / halfY));
    Object.assign(this, { scale: this.home, ox: this.width / 2, oy: this.height / 2, whole: true });
  }
  resize(width, height) {
    this.ox += (width - this.width) / 2;
    this.oy += (height - this.height) / 2;
    Object.assign(this, { width, height });
  }
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(Math.max(this.scale * factor, this.home / 4), this.home * 2000);
    this.ox = x + (this.ox - x) * (scale / this.scale);
    this.oy = y + (this.oy - y) * (scale / this.scale);
    Object.assign(this, { scale, whole: false });
  }
  move(dx, dy) { Object.assign(this, { ox: this.ox + dx, oy: this.oy + dy, whole: false }); }
  centre(x, y) { this.move(this.width / 2 - x * this.scale - this.ox, this.height / 2 + y * this.scale - this.oy); }
  at(points, i) { return [this.ox + points[2 * i] * this.scale, this.oy - points[2 * i + 1] * this.scale]; }
  holds(x, y, margin = 0) { return x >= margin && y >= margin && x <= this.width - margin && y <= this.height - margin; }
  radius(n) {
    const crowded = Math.sqrt((this.width * this.height) / Math.max(n, 1)) * 0.22;
    const zoomed = Math.min(Math.max(this.scale / this.home, 1) ** 0.35, 4);
    return Math.round(2 * Math.min(Math.max(crowded, 2) * zoomed, Math.max(6, 2 * zoomed + 3))) / 2;
  }
}

function drawPoints(ctx, view, data, { size, stencils }, ratio, ink) {
  const { points, groups, chosen, isChosen } = data;
  const { width, height } = ctx.canvas;
  ctx.fillStyle = ink.back;
  ctx.fillRect(0, 0, 1, 1);
  const [back] = new Uint32Array(ctx.getImageData(0, 0, 1, 1).data.buffer);
  const picture = ctx.createImageData(width, height), pixels = new Uint32Array(picture.data.buffer).fill(back);
  const scale = view.scale * ratio, ox = view.ox * ratio - size / 2, oy = view.oy * ratio - size / 2;
  const put = (i, strength) => {
    const x = Math.round(ox + points[2 * i] * scale), y = Math.round(oy - points[2 * i + 1] * scale);
    const stencil = stencils[groups[i]];
    if (stencil && x >= 0 && y >= 0 && x + size <= width && y + size <= height) mix(pixels, y * width + x, stencil, strength);
  };
  const strength = (256 / 255) * (chosen.length ? 0.18 : 0.88);
  for (let i = 0; i < points.length / 2; i += 1) if (!isChosen[i]) put(i, strength);
  chosen.forEach((i) => put(i, 256 / 255));
  ctx.putImageData(picture, 0, 0);
}

function ring(ctx, x, y, r, colour, back, width = 2) {
  for (const [stroke, line] of [[back, width + 3], [colour, width]]) {
    ctx.beginPath();
    ctx.arc(x, y, r, 0, 2 * Math.PI);
    ctx.lineWidth = line;
    ctx.strokeStyle = stroke;
    ctx.stroke();
  }
}

function label(ctx, text, x, y, ink) {
  ctx.font = "600 11px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.lineWidth = 4;
  ctx.strokeStyle = ink.back;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = ink.fg;
  ctx.fillText(text, x, y);
}

function arrow(ctx, [x0, y0], [x1, y1], colour) {
  const turn = Math.atan2(y1 - y0, x1 - x0), far = Math.hypot(x1 - x0, y1 - y0);
  if (far < 12) return;
  const end = [x1 - 10 * Math.cos(turn), y1 - 10 * Math.sin(turn)];
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(...end);
  for (const side of [2.7, -2.7]) {
    ctx.moveTo(...end);
    ctx.lineTo(end[0] + 8 * Math.cos(turn + side), end[1] + 8 * Math.sin(turn + side));
  }
  ctx.lineWidth = 2;
  ctx.setLineDash([]);
  ctx.strokeStyle = colour;
  ctx.stroke();
}

// The query with lines to its neighbours (unbroken: right, dashed: wrong, dotted: not known), and the queries before it.
function drawMarks(ctx, view, points, marks, ink) {
  const place = (i) => view.at(points, i);
  marks.path.slice(1).forEach((to, i) => arrow(ctx, place(marks.path[i]), place(to), ink.focus));
  marks.path.slice(0, -1).forEach((i) => ring(ctx, ...place(i), 5, ink.focus, ink.back, 1.5));
  if (marks.query >= 0 || marks.neighbours.length) {
    const query = marks.query >= 0 ? place(marks.query) : null;
    marks.neighbours.forEach((i, rank) => {
      const here = place(i), verdict = marks.verdicts[rank];
      const colour = { right: ink.right, wrong: ink.wrong }[verdict] ?? ink.muted;
      ctx.setLineDash({ right: [], wrong: [6, 4] }[verdict] ?? [2, 3]);
      ctx.lineWidth = 1.5;
      ctx.strokeStyle = colour;
      ctx.beginPath();
      if (query) ctx.moveTo(...query), ctx.lineTo(...here), ctx.stroke();
      ring(ctx, ...here, 7, colour, ink.back, 2);
      ctx.setLineDash([]);
      label(ctx, String(rank + 1), here[0] + 12, here[1] - 10, ink);
    });
    if (query) {
      ring(ctx, ...query, 11, ink.fg, ink.back, 3);
      label(ctx, "query", query[0], query[1] - 21, ink);
    }
  }
}

function nearestPoint(points, view, x, y, reach) {
  let best = -1, least = reach * reach;
  for (let i = 0; i < points.length / 2; i += 1) {
    const dx = view.ox + points[2 * i] * view.scale - x, dy = view.oy - points[2 * i + 1] * view.scale - y;
    const far = dx * dx + dy * dy;
    if (far < least) { least = far; best = i; }
  }
  return best;
}

// Positions of the points inside a closed line, given in CSS pixels; a point is in where a ray crosses it an odd number of times.
function inside(points, view, line) {
  const xs = line.map((p) => p[0]), ys = line.map((p) => p[1]);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found = [];
  for (let i = 0; i < points.length / 2; i += 1) {
    const [x, y] = view.at(points, i);
    if (x < left || x > right || y < top || y > bottom) continue;
    let within = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a, a += 1) {
      if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) within = !within;
    }
    if (within) found.push(i);
  }
  return found;
}

// The nearest point in the direction of an arrow key: ahead counts once, aside counts twice.
function pointTowards(points, view, from, key) {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  const [x0, y0] = view.at(points, from);
  let best = -1, least = Infinity;
  for (let i = 0; i < points.length / 2; i += 1) {
    const [x, y] = view.at(points, i);
    const ahead = (x - x0) * dx + (y - y0) * dy, aside = Math.abs((x - x0) * dy) + Math.abs((y - y0) * dx);
    if (i !== from && ahead > 0.01 && aside <= 1.5 * ahead && ahead + 2 * aside < least) { least = ahead + 2 * aside; best = i; }
  }
  return best;
}
