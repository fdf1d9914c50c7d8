// fetch: text/plain;charset=UTF-8. Node refuses an empty Content-Length by itself; a browser leaves it out.
const [, , url, body] = process.argv;
console.log(await (await fetch(url, { method: "POST", body, redirect: "follow" })).text());
