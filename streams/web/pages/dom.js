// Elements and texts. What is shown goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat("en");
const amount = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

export const number = (value) => whole.format(value);
export const money = (value) => amount.format(value);
export const percent = (part, all) => (all ? `${Math.round((100 * part) / all)} %` : "–");

/** Seconds as 48 s, 3:07 or 1:02:09. */
export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds % 60)];
  const two = (value) => String(value).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
