// Buttons of which one is pressed. Python owns the state: this file draws it and reports what was pressed.

function render({ model, el }) {
  el.classList.add("cbk", "cbk-choices");
  el.setAttribute("role", "group");
  keepKeys(el);
  const send = makeSender(model, el);
  const buttons = [];

  function addButton() {
    const button = make("button", "", el);
    button.type = "button";
    button.addEventListener("click", () => send({ event: "choose", value: button.dataset.value }));
    buttons.push(button);
  }

  function draw() {
    const options = model.get("options");
    el.setAttribute("aria-label", model.get("name"));
    while (buttons.length < options.length) addButton();
    buttons.forEach((button, i) => {
      button.hidden = i >= options.length;
      if (button.hidden) return;
      [button.textContent, button.dataset.value] = options[i];
      button.setAttribute("aria-pressed", String(options[i][1] === model.get("value")));
    });
  }

  model.on("change", draw);
  draw();
  return () => model.off("change", draw);
}

export default { render };
