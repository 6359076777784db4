// What the theme leaves to be mended for readers without a mouse, a wide screen or eyes. Loaded on every page by tools/pages.py.

// Boxes that scroll sideways: reached by keyboard (the theme sees to most of them), named, and marked for book.css.
const BOXES = { ".cell_output > .output": "Output", ".pst-scrollable-table-container": "Table", "div.math mjx-container": "Equation" };
const mark = () => {
  for (const [boxes, name] of Object.entries(BOXES)) {
    for (const box of document.querySelectorAll(boxes)) {
      const wide = box.scrollWidth > box.clientWidth + 1;
      if (wide === box.hasAttribute("data-wide")) continue;
      box.toggleAttribute("data-wide", wide);
      box.tabIndex = wide ? 0 : -1;
      for (const [key, value] of [["role", "group"], ["aria-label", `${name}, scrolls sideways`]]) {
        if (wide) box.setAttribute(key, value);
        else box.removeAttribute(key);
      }
    }
  }
};

// Buttons are called what they say. The theme's own names hide that, and which colour mode is on.
const rename = () => {
  for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  const mode = { light: "Light", dark: "Dark", auto: "System Settings" }[document.documentElement.dataset.mode];
  for (const button of document.querySelectorAll(".theme-switch-button")) button.setAttribute("aria-label", `Color mode: ${mode}`);
};

// Paper is white.
let theme;
addEventListener("beforeprint", () => { theme = document.documentElement.dataset.theme; document.documentElement.dataset.theme = "light"; });
addEventListener("afterprint", () => { document.documentElement.dataset.theme = theme; });

document.addEventListener("DOMContentLoaded", () => {
  rename();
  const contents = document.querySelector("div#pst-primary-sidebar"); // its title and search lie in no landmark
  contents?.setAttribute("role", "region");
  contents?.setAttribute("aria-label", "Contents");
  new MutationObserver(rename).observe(document.documentElement, { attributeFilter: ["data-mode"] });
  // Whatever makes a box wide (pictures, equations, folded cells, a turned phone) changes how high the page is, or how wide.
  new ResizeObserver(() => requestAnimationFrame(mark)).observe(document.querySelector("main"));
});
