// One sentence for the reader, spoken by screen readers when it changes; and what an explorer as a whole needs.

// The standard controls do not keep their keys, and a screen reader finds no name on these.
function nameControls(root) {
  for (const field of root.querySelectorAll(".widget-dropdown select, .widget-text input")) {
    if (![...field.labels].some((label) => label.textContent)) field.setAttribute("aria-label", field.title || field.placeholder);
  }
  for (const slider of root.querySelectorAll(".widget-slider")) {
    const name = slider.querySelector(".widget-label").textContent;
    slider.querySelectorAll(".noUi-handle, .widget-readout").forEach((part) => part.setAttribute("aria-label", name));
  }
}

// Names what is and what will be in an explorer, and says when the kernel behind it has gone; returns what undoes that.
function attend(root, onGone) {
  const gone = () => root.classList.contains("jupyter-widgets-disconnected");
  const lost = () => onGone(true);
  const refuse = (event) => {
    if (!gone() || !event.target.closest(".jupyter-button")) return;
    lost();
    event.stopPropagation(); // the standard buttons would throw
  };
  const names = new MutationObserver(() => nameControls(root)), kernel = new MutationObserver(() => onGone(gone()));
  const listening = new AbortController(), { signal } = listening;
  nameControls(root);
  onGone(gone()); // a view that was stored in the notebook has no kernel from the start
  keepKeys(root);
  names.observe(root, { childList: true, subtree: true });
  kernel.observe(root, { attributes: true, attributeFilter: ["class"] });
  root.addEventListener("cbk-gone", lost, { signal });
  root.addEventListener("click", refuse, { capture: true, signal });
  return () => [names.disconnect(), kernel.disconnect(), listening.abort()];
}

function render({ model, el }) {
  el.classList.add("cbk", "cbk-status");
  set(el, { role: "status", "aria-live": "polite" });
  let gone = false, leave = () => {};
  const draw = () => {
    const text = gone ? GONE : model.get("text");
    if (el.textContent !== text) el.textContent = text;
    el.classList.toggle("cbk-problem", gone || model.get("problem"));
  };
  const placed = new ResizeObserver(() => { // only now the explorer stands around it
    const root = el.closest(".cbk-explorer");
    if (!root) return;
    placed.disconnect();
    leave = attend(root, (isGone) => { gone = isGone; draw(); });
  });
  placed.observe(el);
  const forget = follow(model, draw);
  return () => [forget(), placed.disconnect(), leave()];
}
