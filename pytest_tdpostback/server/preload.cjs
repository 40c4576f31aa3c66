// Node before 22.21 and 24.5 does not read HTTPS_PROXY. This module is loaded into such a Node: it
// connects the service's hosts to the ports of the fake server, and refuses other hosts. It asks the
// proxy for a refused host, so that the proxy notes the host. TLS stays as it is: Node checks the
// name, and NODE_EXTRA_CA_CERTS adds the authority.
"use strict";

const net = require("node:net");
const { domainToASCII } = require("node:url");
const { hosts, ports, proxy } = JSON.parse(process.env.TDPOSTBACK_REDIRECT);
const connect = net.Socket.prototype.connect;

function nameOf(host) {
  const name = String(host || "");
  const ascii = /[^\x00-\x7f]/.test(name) ? domainToASCII(name) : name;
  return ascii.replace(/\.$/, "").toLowerCase();
}

function isLocal(host) {
  if (net.isIP(host)) return /^(::ffff:)?127\.|^::1$|^0\.0\.0\.0$|^::$/.test(host);
  return host === "" || host === "localhost" || host.endsWith(".localhost");
}

function redirected(options) {
  const host = nameOf(options.host);
  if (isLocal(host)) return options;
  const port = hosts.includes(host) && ports[options.port];
  if (port) return { ...options, host: "127.0.0.1", port };
  const names = hosts.join(", ");
  const error = new Error(`tdpostback: ${host}:${options.port} is not port 80 or 443 of ${names}`);
  const lookup = (_name, _options, done) => askProxy(host, options.port, () => done(error));
  return { ...options, host: "refused.invalid", lookup };
}

function askProxy(host, port, done) {
  const name = host.replace(/[^!-~]/g, "?");
  const place = `${net.isIPv6(name) ? `[${name}]` : name}:${port}`;
  const socket = new net.Socket();
  socket.on("error", () => {}).on("close", done).resume();
  connect.call(socket, { host: "127.0.0.1", port: proxy });
  socket.write(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n\r\n`);
}

net.Socket.prototype.connect = function (...args) {
  const [first, second, ...rest] = args;
  if (Array.isArray(first)) first[0] = redirected(first[0]);
  else if (typeof first === "object") args[0] = redirected(first);
  else if (typeof second === "string") args = [redirected({ port: first, host: second }), ...rest];
  return connect.apply(this, args);
};
