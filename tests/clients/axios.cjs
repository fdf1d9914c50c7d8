// axios: a form's Content-Type; the third argument is what Content-Length is set to, if it is given.
const axios = require(process.env.AXIOS);
const [, , url, data, length] = process.argv;
const headers = length === undefined ? {} : { "Content-Length": length };
const asText = { responseType: "text", transformResponse: (text) => text, validateStatus: () => true };
axios({ method: "post", url, data, headers, ...asText }).then((answer) => console.log(answer.data));
