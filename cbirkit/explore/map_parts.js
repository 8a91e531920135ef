// Parts of the map's page: the picture beside a point, the legend, and the canvases.

const MANY = 15_000; // more points are not drawn anew while the map moves: their picture moves, until it rests
const MOST_PREVIEWS = 200;

function makeButton(parent, text, title, onClick) {
  const button = make("button", "cbk-map-button", parent, text);
  button.type = "button";
  button.title = title;
  button.addEventListener("click", onClick);
  return button;
}

// Bytes of a trait as numbers; copied, for a typed array has to start at a multiple of its size.
function numbers(view, Kind) {
  if (!view?.byteLength) return new Kind(0);
  return new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function readInk(el) {
  const style = getComputedStyle(el);
  const probe = (name) => style.getPropertyValue(`--cbk-${name}`).trim() || "#888";
  return Object.fromEntries(["fg", "back", "muted", "focus", "right", "wrong"].map((name) => [name, probe(name)]));
}

// The small picture beside a point. One request at a time: while the mouse runs on, only the last place is asked for.
function makeTip(frame, view, send, getPoints) {
  const tip = make("div", "cbk-map-tip", frame);
  const img = make("img", "", tip);
  const text = make("span", "", tip);
  img.addEventListener("load", () => img.classList.toggle("cbk-pixels", img.naturalWidth < 48));
  tip.hidden = true;
  const known = new Map();
  let wanted = -1, asked = -1, askedAt = 0;
  let heard = () => {};

  function show(i) {
    const { url, text: said } = known.get(i);
    if (url) img.src = url;
    img.alt = `picture of ${said.split("\n")[0]}`;
    img.hidden = !url;
    text.textContent = said;
    tip.hidden = false;
    tip.dataset.at = i;
    const [x, y] = view.at(getPoints(), i);
    tip.style.left = `${Math.max(0, x + 165 > view.width ? x - 162 : x + 14)}px`;
    tip.style.top = `${Math.max(0, Math.min(y - 30, view.height - 160))}px`;
    heard(said);
  }
  function ask() {
    if (wanted < 0) tip.hidden = true;
    else if (known.has(wanted)) show(wanted);
    else if (asked < 0 || performance.now() - askedAt > 2000) {
      asked = wanted;
      askedAt = performance.now();
      send({ event: "hover", at: wanted });
    }
  }
  function answer(content, buffers) {
    if (content.event !== "preview") return;
    const bytes = buffers[0];
    if (known.size >= MOST_PREVIEWS) forget(known.keys().next().value);
    forget(content.at); // another view of the same widget may have asked too
    known.set(content.at, { url: bytes?.byteLength ? URL.createObjectURL(new Blob([bytes])) : "", text: content.text });
    if (content.at === asked) asked = -1;
    if (wanted >= 0) ask();
  }
  function forget(i) {
    if (known.get(i)?.url) URL.revokeObjectURL(known.get(i).url);
    known.delete(i);
  }
  return {
    point(i, say = () => {}) { wanted = i; heard = say; ask(); },
    answer,
    clear: () => [...known.keys()].forEach(forget),
  };
}

function makeLegend(parent, ink, choose) {
  return (legend) => {
    parent.replaceChildren();
    legend.forEach((group, i) => {
      const button = make("button", "cbk-map-group", parent);
      button.type = "button";
      button.title = `Select all ${group.count} of ${group.name}`;
      button.addEventListener("click", () => choose(i));
      const sign = make("canvas", "", button);
      sign.width = sign.height = 32;
      sign.style.width = sign.style.height = "16px";
      sign.setAttribute("aria-hidden", "true");
      drawShape(sign.getContext("2d"), group, 16, 16, 11, ink());
      make("span", "", button, `${group.name} (${group.count})`);
    });
  };
}

// Everything about the canvases: sizes, what has to be drawn, and drawing it once a frame.
function makeStage(el, frame, view, data) {
  const base = make("canvas", "cbk-map-base", frame), top = make("canvas", "cbk-map-top", frame);
  const paper = base.getContext("2d", { willReadFrequently: true }), glass = top.getContext("2d");
  const kept = document.createElement("canvas"); // the last exact picture, and where the map was then
  const stage = { top, ink: readInk(el), cursor: -1, line: [], marks: null };
  let sprites = null, spriteKey = "", due = 0, stale = true, moving = false, rest = 0, was = null, ratio = 1;

  function exact() {
    const r = view.radius(data.points.length / 2), key = `${r} ${ratio} ${base.width} ${stage.ink.back} ${JSON.stringify(data.legend)}`;
    if (key !== spriteKey) sprites = makeStencils(data.legend, r, ratio, stage.ink, base.width);
    spriteKey = key;
    drawPoints(paper, view, data, sprites, ratio, stage.ink);
    if (data.points.length / 2 <= MANY) return;
    Object.assign(kept, { width: base.width, height: base.height });
    kept.getContext("2d").drawImage(base, 0, 0);
    was = { scale: view.scale, ox: view.ox, oy: view.oy };
  }
  function shifted() {
    const by = view.scale / was.scale;
    paper.clearRect(0, 0, base.width, base.height);
    paper.drawImage(kept, (view.ox - was.ox * by) * ratio, (view.oy - was.oy * by) * ratio, base.width * by, base.height * by);
  }
  function frameNow() {
    due = 0;
    const start = performance.now();
    if (stale) {
      if (moving && was && data.points.length / 2 > MANY) shifted();
      else exact();
    }
    stale = false;
    glass.setTransform(ratio, 0, 0, ratio, 0, 0);
    glass.clearRect(0, 0, view.width, view.height);
    if (stage.marks) drawMarks(glass, view, data.points, stage.marks, stage.ink);
    if (stage.cursor >= 0) ring(glass, ...view.at(data.points, stage.cursor), 9, stage.ink.focus, stage.ink.back, 2);
    if (stage.line.length) drawLine(glass, stage.line, stage.ink);
    frame.dataset.drawn = (performance.now() - start).toFixed(1); // ms, for those who measure
  }
  const draw = () => { due ||= requestAnimationFrame(frameNow); };
  Object.assign(stage, {
    overlay: draw,
    redraw() { stale = true; moving = false; draw(); },
    moved() {
      stale = moving = true;
      draw();
      clearTimeout(rest);
      rest = setTimeout(stage.redraw, 120);
    },
    resize() {
      ratio = window.devicePixelRatio || 1;
      view.resize(frame.clientWidth || 1, frame.clientHeight || 1);
      for (const canvas of [base, top]) Object.assign(canvas, { width: Math.round(view.width * ratio), height: Math.round(view.height * ratio) });
      stage.redraw();
    },
    stop() { cancelAnimationFrame(due); clearTimeout(rest); },
  });
  return stage;
}

function drawLine(ctx, line, ink) {
  ctx.beginPath();
  line.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.closePath();
  ctx.globalAlpha = 0.15;
  ctx.fillStyle = ink.focus;
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.lineWidth = 2;
  ctx.setLineDash([5, 3]);
  ctx.strokeStyle = ink.focus;
  ctx.stroke();
  ctx.setLineDash([]);
}
