"use strict";
// validatorUrl: null, because the validator of Swagger UI would send the document's address to another host.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null, docExpansion: "list" });
