// Keeps every file of the site, so that it works offline; a new version takes the place of the old one as a whole.
const files = FILES, mine = `cbirkit ${self.registration.scope} `, cache = mine + "VERSION"; // sites of one host share the caches

self.addEventListener("install", (event) =>
  event.waitUntil(caches.open(cache)
    .then((kept) => kept.addAll(files.map((name) => new Request(name, { cache: "no-cache" }))))
    .then(() => self.skipWaiting())));
self.addEventListener("activate", (event) =>
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter((name) => name.startsWith(mine) && name !== cache).map((name) => caches.delete(name))))
    .then(() => self.clients.claim())));
self.addEventListener("fetch", (event) =>
  event.respondWith(caches.open(cache).then((all) => all.match(event.request, { ignoreSearch: true })).then((kept) => kept || fetch(event.request))));
