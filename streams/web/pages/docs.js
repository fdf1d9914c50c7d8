"use strict";
// No validator: it would send the document's address to a server outside.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null, docExpansion: "list" });
