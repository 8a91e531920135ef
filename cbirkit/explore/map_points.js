// Drawing of the map: points, what is marked among them, and where they are on the canvas. No state of the widget here.

const SHAPES = { // matplotlib's markers in a circle of radius 1, y downward, as SVG paths
  o: "M.9 0A.9 .9 0 1 1-.9 0A.9 .9 0 1 1 .9 0Z",
  ".": "M.6 0A.6 .6 0 1 1-.6 0A.6 .6 0 1 1 .6 0Z",
  s: "M-.8-.8H.8V.8H-.8Z",
  "^": "M0-1L.95 .75H-.95Z",
  v: "M0 1L.95-.75H-.95Z",
  "<": "M-1 0L.75-.95V.95Z",
  ">": "M1 0L-.75-.95V.95Z",
  D: "M0-1.05L1.05 0L0 1.05L-1.05 0Z",
  P: "M-.35-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
  X: "M-.9-.55L-.55-.9L0-.35L.55-.9L.9-.55L.35 0L.9 .55L.55 .9L0 .35L-.55 .9L-.9 .55L-.35 0Z",
  p: "M0-1L.951-.309L.588 .809H-.588L-.951-.309Z",
  "*": "M0-1.1L.264-.364L1.046-.34L.428 .139L.647 .89L0 .45L-.647 .89L-.428 .139L-1.046-.34L-.264-.364Z",
};

// Black has to be seen on a dark page too, and every point apart from the ones below it.
function drawShape(ctx, group, x, y, r, ink) {
  const shape = new Path2D(SHAPES[group.shape]);
  ctx.save();
  ctx.translate(x, y);
  ctx.scale(r, r);
  ctx.fillStyle = group.colour === "#000000" ? ink.fg : group.colour;
  ctx.fill(shape);
  ctx.lineWidth = Math.max(0.5 / r, 0.14);
  ctx.strokeStyle = ink.back;
  ctx.stroke(shape);
  ctx.restore();
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

// The points in view, if they are not more than `most`; none otherwise.
function inView(points, view, most) {
  const found = [];
  for (let i = 0; i < points.length / 2 && found.length <= most; i += 1) if (view.holds(...view.at(points, i))) found.push(i);
  return found.length > most ? [] : found;
}

function drawPicture(ctx, picture, x, y, frame, side = 52) {
  if (!picture) return;
  const scale = side / Math.max(picture.width, picture.height), w = picture.width * scale, h = picture.height * scale;
  ctx.fillStyle = frame;
  ctx.fillRect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4);
  ctx.drawImage(picture, x - w / 2, y - h / 2, w, h);
}

function ring(ctx, x, y, r, colour, back, width = 2) {
  for (const [stroke, line] of [[back, width + 3], [colour, width]]) {
    ctx.beginPath();
    ctx.arc(x, y, r, 0, 2 * Math.PI);
    Object.assign(ctx, { lineWidth: line, strokeStyle: stroke });
    ctx.stroke();
  }
}

function label(ctx, text, x, y, ink) {
  Object.assign(ctx, { font: "600 11px system-ui, sans-serif", textAlign: "center", textBaseline: "middle" });
  Object.assign(ctx, { lineWidth: 4, strokeStyle: ink.back, fillStyle: ink.fg });
  ctx.strokeText(text, x, y);
  ctx.fillText(text, x, y);
}

function arrow(ctx, [x0, y0], [x1, y1], colour) {
  const far = Math.hypot(x1 - x0, y1 - y0);
  if (far < 12) return;
  ctx.save();
  ctx.translate(x1, y1);
  ctx.rotate(Math.atan2(y1 - y0, x1 - x0));
  Object.assign(ctx, { lineWidth: 2, strokeStyle: colour });
  ctx.stroke(new Path2D(`M${-far} 0H-10M-17.2 3.4L-10 0L-17.2-3.4`));
  ctx.restore();
}

// A path through places on the canvas.
const pathOf = (places) => new Path2D(`M${places.join("L")}`);

// The query with lines to its neighbours (unbroken: right, dashed: wrong, dotted: not known), and the queries before it.
function drawMarks(ctx, view, points, marks, ink) {
  const place = (i) => view.at(points, i);
  marks.path.slice(1).forEach((to, i) => arrow(ctx, place(marks.path[i]), place(to), ink.focus));
  marks.path.slice(0, -1).forEach((i) => ring(ctx, ...place(i), 5, ink.focus, ink.back, 1.5));
  const query = marks.query >= 0 ? place(marks.query) : null;
  marks.neighbours.forEach((i, rank) => {
    const here = place(i), verdict = marks.verdicts[rank];
    const [colour, dash] = { right: [ink.right, []], wrong: [ink.wrong, [6, 4]] }[verdict] ?? [ink.muted, [2, 3]];
    ctx.setLineDash(dash);
    Object.assign(ctx, { lineWidth: 1.5, strokeStyle: colour });
    ctx.stroke(pathOf([query ?? here, here]));
    ring(ctx, ...here, 7, colour, ink.back, 2);
    ctx.setLineDash([]);
    label(ctx, String(rank + 1), here[0] + 12, here[1] - 10, ink);
  });
  if (!query) return;
  ring(ctx, ...query, 11, ink.fg, ink.back, 3);
  label(ctx, "query", query[0], query[1] - 21, ink);
}

// The point of least cost, which depends on its place in CSS pixels; -1 where all cost infinitely much.
function cheapest(points, view, cost) {
  let best = -1, least = Infinity;
  for (let i = 0; i < points.length / 2; i += 1) {
    const now = cost(...view.at(points, i));
    if (now >= least) continue;
    least = now;
    best = i;
  }
  return best;
}

function nearestPoint(points, view, x0, y0, reach) {
  const far = (x, y) => Math.hypot(x - x0, y - y0);
  return cheapest(points, view, (x, y) => (far(x, y) < reach ? far(x, y) : Infinity));
}

// The nearest point in the direction of an arrow key: ahead counts once, aside counts twice.
function pointTowards(points, view, from, key) {
  const [dx, dy] = ARROWS[key], [x0, y0] = view.at(points, from);
  return cheapest(points, view, (x, y) => {
    const ahead = (x - x0) * dx + (y - y0) * dy, aside = Math.abs((x - x0) * dy) + Math.abs((y - y0) * dx);
    return ahead > 0.01 && aside <= 1.5 * ahead ? ahead + 2 * aside : Infinity;
  });
}

// Whether a point is inside a closed line, given in CSS pixels.
function isInside(points, view, line) {
  const ctx = document.createElement("canvas").getContext("2d"), path = pathOf(line);
  return (i) => ctx.isPointInPath(path, ...view.at(points, i), "evenodd");
}
