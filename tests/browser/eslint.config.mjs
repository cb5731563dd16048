import js from "@eslint/js";

const browser = Object.fromEntries(
  [
    "addEventListener", "atob", "cancelAnimationFrame", "document", "getComputedStyle", "history",
    "location", "Option", "performance", "requestAnimationFrame", "ResizeObserver", "URLSearchParams",
  ].map((name) => [name, "readonly"]),
);

export default [
  js.configs.recommended,
  { languageOptions: { ecmaVersion: 2023, sourceType: "script", globals: browser } },
];
