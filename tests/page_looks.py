"""What a careful look at an explorer would find, computed in the page: faint text, small targets, text that is cut off."""

ROOT = ":is(.cbk-explorer, .cbk-lab)"
_TOOLS = """
  const shown = (selector) => [...document.querySelectorAll(selector)].filter(
    (node) => node.offsetParent && getComputedStyle(node).clipPath === "none"); // clipped: for screen readers only
  const told = (node) => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`;
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  const ground = (node) => {
    const own = parse(getComputedStyle(node).backgroundColor);
    return own[3] === 1 || !node.parentElement ? own.slice(0, 3) : over(own, ground(node.parentElement));
  };
"""
# Contrast by WCAG 2.2, 1.4.3: at least 4.5 to 1; controls that are switched off need none.
_FAINT = """() => {
  const contrast = (node) => {
    const under = ground(node), pair = [light(over(parse(getComputedStyle(node).color), under)), light(under)];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  };
  const texts = shown(`${root} *`).filter((node) => node.tagName !== "OPTION" && !node.closest(":disabled")
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  return texts.filter((node) => contrast(node) < 4.5).map((node) => `${contrast(node).toFixed(2)} ${told(node)}`);
}"""
# WCAG 2.2, 2.5.8: 24 by 24 pixels; a check box is as large as its label, and a slider's handle has a margin that counts.
_SMALL = """() => shown(`${root} :is(button, select, input:not([type=checkbox]), summary)`).filter((node) => {
  const { width, height } = node.getBoundingClientRect();
  return Math.min(width, height) < 23.5;
}).map(told)"""
_CUT = """() => shown(`${root}, ${root} *`).filter((node) => node.scrollWidth > node.clientWidth + 1
  && node.clientWidth && !["inline", "none"].includes(getComputedStyle(node).display)
  && (node.matches(root) || getComputedStyle(node).overflowX !== "visible")).map(told)"""


def faults(page):
    """Descriptions of faint text, small targets and cut text in all explorers of a playwright page; none is the aim."""
    found = {}
    for name, script in (("faint", _FAINT), ("small", _SMALL), ("cut", _CUT)):
        texts = page.evaluate(f"root => {{ {_TOOLS} return ({script})(); }}", ROOT)
        if texts:
            found[name] = sorted(set(texts))
    return found
