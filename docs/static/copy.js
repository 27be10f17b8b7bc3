// A button in each block of code that copies it; of a terminal, only what is typed after `$`.

function typed(text) {
  const lines = text.split("\n");
  const commands = lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
  return commands.length ? commands.join("\n") : text.trimEnd();
}

document.addEventListener("DOMContentLoaded", () => {
  for (const block of document.querySelectorAll("div.highlight")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      const isTerminal = block.parentElement.classList.contains("highlight-console");
      const text = block.querySelector("pre").textContent;
      await navigator.clipboard.writeText(isTerminal ? typed(text) : text.trimEnd());
      button.textContent = "copied";
      setTimeout(() => (button.textContent = "copy"), 2000);
    });
    block.append(button);
  }
});
