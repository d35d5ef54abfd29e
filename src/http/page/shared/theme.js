// Light, dark, or as the system has it. Runs before the page is drawn, so that it does not flash in the other colours.
(() => {
  const KEY = "causeway-theme";
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const root = document.documentElement;

  // A browser may forbid storage; then the choice lasts as long as the page.
  const read = () => {
    try {
      return localStorage.getItem(KEY) in NEXT ? localStorage.getItem(KEY) : "auto";
    } catch {
      return "auto";
    }
  };
  const keep = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Said above.
    }
  };
  const show = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[theme];
      button.setAttribute("aria-label", `Colours: ${theme}. Change to ${NEXT[theme]}`);
      button.title = `Change the colours to ${NEXT[theme]}`;
    }
  };

  show(read());
  document.addEventListener("DOMContentLoaded", () => {
    show(root.dataset.theme);
    document.getElementById("theme")?.addEventListener("click", () => {
      const theme = NEXT[root.dataset.theme];
      keep(theme);
      show(theme);
    });
  });
})();
