/** The page at /docs: Swagger UI over /openapi.json. What it asks goes to this hub only, with the key of this tab or one typed in. */

import { tab } from "./tab.js";

const standing = document.getElementById("standing");

/** Return the document as this page shows it. */
async function read() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`The hub answered ${answer.status}`);
  const api = await answer.json();
  // The flow of another issuer: its host may be out of reach, and its token goes in as a key does.
  delete api.components.securitySchemes.oauth2;
  Object.values(api.components.parameters).forEach(empty);
  for (const method of Object.values(api.paths).flatMap(Object.values)) {
    if (Array.isArray(method.security)) method.security = method.security.filter((each) => !("oauth2" in each));
    method.parameters?.forEach(empty);
  }
  return api;
}

/** Fill in nothing that was not asked for: under one idempotency key two requests are one, and pages go with no limit. */
function empty(parameter) {
  delete parameter.example;
  const { schema } = parameter;
  if (schema?.type === "object") schema.example = {};
  if (schema?.default === undefined) return;
  parameter.description = `${parameter.description ?? ""} (else ${schema.default})`.trim();
  delete schema.default;
}

function isOld(operation) {
  return Number(operation.getIn(["operation", "deprecated"]) ?? false);
}

function show(spec) {
  const ui = window.SwaggerUIBundle({
    spec,
    domNode: document.getElementById("api"),
    docExpansion: "none",
    operationsSorter: (a, b) => isOld(a) - isOld(b),
    deepLinking: true,
    filter: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    displayOperationId: false,
    defaultModelsExpandDepth: 0,
    // Nothing of others: no validator's badge, no configuration out of the address, no key that outlives the page.
    validatorUrl: null,
    queryConfigEnabled: false,
    persistAuthorization: false,
    withCredentials: false,
    onComplete: () => {
      const { key } = tab;
      if (key) ui.preauthorizeApiKey("bearer", key);
      standing.textContent = key ? "Requests are sent with the key of this tab." : "Give a key with Authorize, then try any request.";
    },
  });
}

function dress({ matches }) {
  document.documentElement.classList.toggle("dark-mode", matches);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", dress);
dress(dark);

read().then(show, (failure) => {
  standing.textContent = `/openapi.json cannot be read: ${failure.message}`;
});
