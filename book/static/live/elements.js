/** An element with its text, attributes and children. */
export const element = (name, text = "", attributes = {}, ...children) => {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
