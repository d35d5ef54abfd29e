// Buttons that copy the code beside them.
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".code > button");
  const code = button?.parentElement.querySelector("pre");
  if (!code) {
    return;
  }
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // Browsers only let pages copy that came over HTTPS or from this machine: then it is at least selected.
    getSelection().selectAllChildren(code);
    said = "Selected";
  }
  button.textContent = said;
  setTimeout(() => (button.textContent = "Copy"), 1500);
});
