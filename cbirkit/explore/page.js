// What the scripts of all explorers begin with. Text goes through textContent, never through innerHTML.

const SVG = "http://www.w3.org/2000/svg";
const MARKS = { right: "M3 8.5l3.3 3.3L13 4.8", wrong: "M4.2 4.2l7.6 7.6M11.8 4.2l-7.6 7.6", junk: "M3.5 8h9" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const GONE = "The kernel behind this view has ended or was restarted: run the cell again.";

function set(node, attributes) {
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return node;
}

function make(tag, className, parent, text = "", attributes = {}) {
  const node = set(document.createElement(tag), attributes);
  node.className = className;
  node.textContent = text;
  parent?.append(node);
  return node;
}

function makeButton(className, parent, text, onClick, attributes = {}) {
  const button = make("button", className, parent, text, { type: "button", ...attributes });
  button.addEventListener("click", onClick);
  return button;
}

// A picture of bytes (a DataView; none: it is hidden). Tiny ones (8 x 8 digits, say) are enlarged as pixels, not as a blur.
function makePicture(parent) {
  const img = make("img", "", parent, "", { draggable: false });
  img.addEventListener("load", () => img.classList.toggle("cbk-pixels", img.naturalWidth < 48));
  const release = () => { if (img.src) URL.revokeObjectURL(img.src); };
  function show(bytes) {
    release();
    img.hidden = !bytes?.byteLength;
    if (img.hidden) img.removeAttribute("src");
    else img.src = URL.createObjectURL(new Blob([bytes]));
  }
  return { img, show, release };
}

// Draws now, and whenever the traits change; returns what ends that.
function follow(model, draw) {
  model.on("change", draw);
  draw();
  return () => model.off("change", draw);
}

// Keys move the focus among nodes, unless `take` (which gets the number of the focused one) has a use for the key: `steps`
// says how far each goes; Home and End lead to the ends.
function moveFocus(event, nodes, steps, take = () => false) {
  const here = nodes.indexOf(document.activeElement);
  if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = nodes[{ Home: 0, End: nodes.length - 1 }[event.key] ?? here + (steps[event.key] ?? NaN)];
  if (!take(here)) {
    if (!target) return;
    target.focus();
  }
  event.preventDefault();
}

// A drawing of 16 by 16 with one path, whose shape says right, wrong or junk.
function makeMark(className, parent) {
  const svg = set(document.createElementNS(SVG, "svg"), { viewBox: "0 0 16 16", class: className, "aria-hidden": true });
  svg.append(document.createElementNS(SVG, "path"));
  parent.append(svg);
  return svg.firstChild;
}

// JupyterLab would take keys for the notebook (d, d deletes a cell), unless the focused node itself says no. Ctrl+S goes
// on saving: the window hears a key before JupyterLab does.
function keepKeys(el) {
  el.addEventListener("focusin", (event) => { event.target.dataset.lmSuppressShortcuts = "true"; });
  if (window.cbkHearsKeys) return;
  window.cbkHearsKeys = true;
  window.addEventListener("keydown", ({ target, ctrlKey, metaKey, key }) => {
    if (!target.closest?.(".cbk, .cbk-explorer")) return;
    if ((ctrlKey || metaKey) && key === "s") delete target.dataset.lmSuppressShortcuts;
    else target.dataset.lmSuppressShortcuts = "true";
  }, true);
}

// Makes `el` the view of a widget; returns what sends to the kernel. Where that has ended Jupyter throws, and a view that was stored has none: then the explorer is told.
function begin(model, el, className) {
  el.classList.add("cbk", className);
  keepKeys(el);
  const lost = () => el.dispatchEvent(new CustomEvent("cbk-gone", { bubbles: true }));
  return (message, buffers = []) => {
    if (el.classList.contains("jupyter-widgets-disconnected")) return lost();
    try {
      return model.send(message, undefined, buffers);
    } catch {
      return lost();
    }
  };
}
