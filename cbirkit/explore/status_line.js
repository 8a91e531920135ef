// One sentence for the reader, spoken by screen readers when it changes.

// JupyterLab would take keys typed on a control for the notebook (d, d deletes a cell), unless the focused node itself
// says no. The standard controls do not: this line says it for all that stand beside it in an explorer.
function keepKeys(event) {
  if (event.target.closest?.(".cbk-explorer")) event.target.dataset.lmSuppressShortcuts = "true";
}

function render({ model, el }) {
  el.classList.add("cbk", "cbk-status");
  el.setAttribute("role", "status");
  el.setAttribute("aria-live", "polite");
  const draw = () => {
    el.textContent = model.get("text");
    el.classList.toggle("cbk-problem", model.get("problem"));
  };
  model.on("change", draw);
  document.addEventListener("focusin", keepKeys);
  draw();
  return () => {
    model.off("change", draw);
    document.removeEventListener("focusin", keepKeys);
  };
}

export default { render };
