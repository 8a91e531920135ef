// Keeps every file of the site, so that it works offline; a new version takes the place of the old one as a whole.
const files = FILES, cache = "cbirkit-VERSION";

self.addEventListener("install", (event) =>
  event.waitUntil(caches.open(cache).then((kept) => kept.addAll(files)).then(() => self.skipWaiting())));
self.addEventListener("activate", (event) =>
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter((name) => name.startsWith("cbirkit-") && name !== cache).map((name) => caches.delete(name))))
    .then(() => self.clients.claim())));
self.addEventListener("fetch", (event) =>
  event.respondWith(caches.match(event.request, { ignoreSearch: true }).then((kept) => kept || fetch(event.request))));
