// The map: moved, zoomed, hovered over, picked from, selected in. Python owns the state and knows the images: this file
// reports positions of points. Drawing is in map_points.js, the parts of the page are in map_parts.js.

const REACH = 14; // CSS pixels from a point that still mean it
const MODES = [["lasso", "Lasso"], ["box", "Box"], ["move", "Move"]];

// Mouse and pen: a click picks, a drag selects or moves, the wheel zooms where the map has the focus.
function listen(top, view, stage, act) {
  let from = null, last = null;
  const place = (event) => [event.offsetX, event.offsetY];
  const far = ([x, y]) => Math.hypot(x - from[0], y - from[1]);
  top.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = last = place(event);
    stage.line = [];
    try { top.setPointerCapture(event.pointerId); } catch { /* a pointer that is no longer there */ }
  });
  top.addEventListener("pointermove", (event) => {
    const here = place(event);
    if (!from) return act.hover(here);
    if (act.mode() === "move") {
      view.move(here[0] - last[0], here[1] - last[1]);
      stage.moved();
    } else if (act.mode() === "box") stage.line = [from, [here[0], from[1]], here, [from[0], here[1]]];
    else if (!stage.line.length || Math.hypot(here[0] - last[0], here[1] - last[1]) > 2) stage.line.push(here);
    else return undefined;
    last = here;
    return stage.overlay();
  });
  top.addEventListener("pointerup", (event) => {
    if (!from) return;
    const here = place(event), line = stage.line, clicked = far(here) < 4 && line.length < 5;
    stage.line = [];
    from = null;
    if (clicked) act.click(here);
    else if (line.length > 2) act.enclose(line, event.shiftKey);
    stage.overlay();
  });
  top.addEventListener("pointercancel", () => { from = null; stage.line = []; stage.overlay(); });
  top.addEventListener("pointerleave", () => from || act.hover(null));
  top.addEventListener("wheel", (event) => {
    if (document.activeElement !== top && !event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    view.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) * 0.002), ...place(event));
    act.hover(null);
    stage.moved();
  }, { passive: false });
}

function render({ model, el }) {
  el.classList.add("cbk", "cbk-map");
  keepKeys(el);
  const send = makeSender(model, el);
  const bar = make("div", "cbk-map-bar", el);
  const frame = make("div", "cbk-map-frame", el);
  const view = new View();
  const data = { points: new Float32Array(0), groups: new Uint8Array(0), chosen: new Uint32Array(0), isChosen: new Uint8Array(0), legend: [] };
  const stage = makeStage(el, frame, view, data);
  const { top } = stage;
  const tip = makeTip(frame, view, send, () => data.points);
  const said = make("div", "cbk-map-said", el);
  said.setAttribute("aria-live", "polite");
  const summary = make("div", "cbk-map-summary", el);
  const showLegend = makeLegend(make("div", "cbk-map-legend", el), () => stage.ink, (i) => choose(filter((j) => data.groups[j] === i)));
  make("div", "cbk-map-hint", el, "Rest on a point to see its image, click it to see its neighbours. Drag to select; Shift adds. "
    + "The wheel zooms after a click into the map. Keys: arrows, Enter, Space, + - 0, Shift and arrows.");
  let mode = "lasso", started = false;

  function filter(test) {
    const found = [];
    for (let i = 0; i < data.points.length / 2; i += 1) if (test(i)) found.push(i);
    return found;
  }
  function mark(positions) {
    data.chosen = Uint32Array.from(positions);
    data.isChosen = new Uint8Array(data.points.length / 2);
    data.chosen.forEach((i) => { data.isChosen[i] = 1; });
    stage.redraw();
  }
  function choose(positions, add = false) {
    mark(add ? [...new Set([...data.chosen, ...positions])] : positions);
    send({ event: "select" }, [data.chosen.slice().buffer]);
  }
  function goTo(i) {
    if (i < 0) return;
    if (!view.holds(...view.at(data.points, i), 20)) view.centre(data.points[2 * i], data.points[2 * i + 1]), stage.redraw();
    stage.cursor = i;
    tip.point(i, (text) => { said.textContent = text; });
    stage.overlay();
  }
  const act = {
    mode: () => mode,
    hover(here) {
      const i = here ? nearestPoint(data.points, view, ...here, REACH) : -1;
      if (i === stage.cursor) return;
      stage.cursor = i;
      tip.point(i);
      stage.overlay();
    },
    click(here) {
      const i = nearestPoint(data.points, view, ...here, REACH);
      if (i >= 0) send({ event: "pick", at: i });
    },
    enclose: (line, add) => choose(inside(data.points, view, line), add),
  };
  listen(top, view, stage, act);
  const zoom = (factor) => { view.zoom(factor); act.hover(null); stage.moved(); };
  const whole = () => { view.fit(data.points); stage.redraw(); };

  top.tabIndex = 0;
  top.setAttribute("role", "application");
  top.addEventListener("blur", () => tip.point(-1));
  top.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = event.key.startsWith("Arrow"), here = stage.cursor;
    if (arrow && event.shiftKey) {
      view.move(...{ ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key]);
      stage.moved();
    } else if (arrow) goTo(here < 0 ? nearestPoint(data.points, view, view.width / 2, view.height / 2, 1e9) : pointTowards(data.points, view, here, event.key));
    else if (event.key === "Enter" && here >= 0) send({ event: "pick", at: here });
    else if (event.key === " " && here >= 0) choose(data.isChosen[here] ? [...data.chosen].filter((i) => i !== here) : [...data.chosen, here]);
    else if (event.key === "Escape") choose([]);
    else if (event.key === "0") whole();
    else if (["+", "=", "-"].includes(event.key)) zoom(event.key === "-" ? 1 / 1.3 : 1.3);
    else return;
    event.preventDefault();
  });

  const modes = MODES.map(([name, text]) => makeButton(bar, text, `Drag to ${name === "move" ? "move the map" : `select with a ${name}`}`, () => setMode(name)));
  function setMode(name) {
    mode = name;
    top.dataset.mode = name;
    MODES.forEach(([one], i) => modes[i].setAttribute("aria-pressed", String(one === name)));
  }
  make("span", "cbk-map-gap", bar);
  makeButton(bar, "+", "Zoom in", () => zoom(1.3));
  makeButton(bar, "−", "Zoom out", () => zoom(1 / 1.3));
  makeButton(bar, "Whole map", "Show all points", whole);
  make("span", "cbk-map-gap", bar);
  makeButton(bar, "Select what is shown", "Select all points in view", () => choose(filter((i) => view.holds(...view.at(data.points, i)))));
  makeButton(bar, "Clear", "Select nothing", () => choose([]));
  setMode(mode);

  function read() {
    data.points = numbers(model.get("points"), Float32Array);
    data.groups = numbers(model.get("groups"), Uint8Array);
    data.legend = model.get("legend");
    stage.marks = model.get("marks");
    summary.textContent = model.get("summary");
    frame.style.height = `${model.get("height")}px`;
    top.setAttribute("aria-label", `${model.get("title")}. Arrow keys go from point to point, Enter shows neighbours, Space selects.`);
    mark(numbers(model.get("chosen"), Uint32Array));
  }
  const onPoints = () => { read(); act.hover(null); whole(); };
  const onMarks = () => {
    stage.marks = model.get("marks");
    const at = stage.marks.query;
    if (at >= 0 && started && !view.holds(...view.at(data.points, at), 10)) view.centre(data.points[2 * at], data.points[2 * at + 1]), stage.redraw();
    stage.overlay();
  };
  const onLegend = () => { read(); showLegend(data.legend); };
  const onChosen = () => mark(numbers(model.get("chosen"), Uint32Array));
  const events = { points: onPoints, marks: onMarks, legend: onLegend, groups: onLegend, chosen: onChosen, summary: read, title: read };
  Object.entries(events).forEach(([name, action]) => model.on(`change:${name}`, action));
  model.on("msg:custom", tip.answer);
  const recolour = () => { stage.ink = readInk(el); showLegend(data.legend); stage.redraw(); };
  const themes = new MutationObserver(recolour);
  themes.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light"] });
  const sizes = new ResizeObserver(() => {
    if (frame.clientWidth < 2) return;
    stage.resize();
    act.hover(null); // the picture beside a point would stand where the point was
    if (!started) recolour(); // colours are known once it is in the page
    if (view.whole) whole();
    started = true;
  });
  read();
  showLegend(data.legend);
  sizes.observe(frame);
  return () => {
    Object.entries(events).forEach(([name, action]) => model.off(`change:${name}`, action));
    model.off("msg:custom", tip.answer);
    themes.disconnect();
    sizes.disconnect();
    stage.stop();
    tip.clear();
  };
}

export default { render };
