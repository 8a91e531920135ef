// Paper for labels: a click places one, dragging or arrow keys move it, Delete removes it.

function render({ model, el }) {
  const send = begin(model, el, "cbk-pad");
  const row = make("div", "cbk-buttons", el);
  const names = make("select", "", make("label", "", row, "object "));
  makeButton("cbk-button", row, "Place", () => add(0.5, 0.5), { title: "In the middle" });
  const clear = makeButton("cbk-button", row, "Clear", () => keep([]));
  const area = make("div", "cbk-paper cbk-labels", el, "", { role: "group", "aria-label": "Where the objects stand" });
  make("div", "cbk-hint", el, "Click to place, drag to move. With keys: arrows move a label (Shift: further), Delete removes it.");
  const nodes = [];
  let drag = null; // [label, x, y] while one is being dragged
  const unit = (value) => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000;
  const put = (node, x, y) => Object.assign(node.style, { left: `${100 * x}%`, top: `${100 * y}%` });
  const move = (node, x, y) => keep(model.get("labels").map((one, i) => (nodes[i] === node ? [one[0], unit(x), unit(y)] : one)));

  function at({ clientX, clientY }) {
    const box = area.getBoundingClientRect();
    return [unit((clientX - box.left) / box.width), unit((clientY - box.top) / box.height)];
  }

  // Keeps the labels (a view may be made anew) and tells Python.
  function keep(labels) {
    model.set("labels", labels);
    model.save_changes();
    draw();
    send({ event: "layout", labels });
  }

  function add(x, y) {
    keep([...model.get("labels"), [names.value, x, y]]);
    nodes.at(-1).focus();
  }

  function makeLabel() {
    const node = makeButton("", area, "", () => {});
    nodes.push(node);
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || drag) return;
      node.setPointerCapture(event.pointerId);
      drag = [node];
    });
    node.addEventListener("pointermove", (event) => {
      if (drag?.[0] === node) put(...(drag = [node, ...at(event)]));
    });
    node.addEventListener("lostpointercapture", () => {
      const [mine, ...place] = drag ?? [];
      drag = null;
      if (place.length) move(mine, ...place);
    });
    node.addEventListener("keydown", (event) => {
      const here = nodes.indexOf(node), [, x, y] = model.get("labels")[here];
      const step = event.shiftKey ? 0.1 : 0.02, by = ARROWS[event.key];
      if (!by && !["Delete", "Backspace"].includes(event.key)) return;
      event.preventDefault();
      if (by) return move(node, x + step * by[0], y + step * by[1]);
      keep(model.get("labels").filter((_, i) => i !== here));
      (nodes[here] ?? nodes.at(-1) ?? names).focus();
    });
  }

  function draw() {
    const labels = model.get("labels");
    if (!names.length) names.append(...model.get("names").map((name) => new Option(name)));
    area.style.aspectRatio = model.get("aspect");
    while (nodes.length > labels.length) nodes.pop().remove();
    while (nodes.length < labels.length) makeLabel();
    labels.forEach(([name, x, y], i) => {
      nodes[i].textContent = name;
      nodes[i].ariaLabel = `${name}, ${Math.round(100 * x)} % from the left, ${Math.round(100 * y)} % from the top`;
      if (drag?.[0] !== nodes[i]) put(nodes[i], x, y);
    });
    clear.disabled = !labels.length;
  }

  area.addEventListener("click", (event) => { if (event.target === area) add(...at(event)); });
  return follow(model, draw);
}
