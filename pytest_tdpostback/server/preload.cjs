// For Node before 22.21 and 24.5, which does not read HTTPS_PROXY: connections to the service's
// hosts go to the double's own ports, and other hosts are refused as the proxy refuses them. TLS
// stays as it is: the name is checked, and the authority comes with NODE_EXTRA_CA_CERTS.
"use strict";

const net = require("node:net");
const { hosts, ports } = JSON.parse(process.env.TDPOSTBACK_REDIRECT);
const connect = net.Socket.prototype.connect;
const HERE = /^$|^(.*\.)?localhost$|^127\.|^::1$/;

function redirected(options) {
  const host = String(options.host || "").replace(/\.$/, "").toLowerCase();
  if (HERE.test(host)) return options;
  const port = hosts.includes(host) && ports[options.port];
  if (port) return { ...options, host: "127.0.0.1", port };
  const names = hosts.join(", ");
  const error = new Error(`tdpostback: ${host}:${options.port} is not port 80 or 443 of ${names}`);
  const lookup = (_name, _options, done) => process.nextTick(done, error);
  return { ...options, host: "refused.invalid", lookup };
}

net.Socket.prototype.connect = function (...args) {
  const [first, second, ...rest] = args;
  if (Array.isArray(first)) first[0] = redirected(first[0]);
  else if (typeof first === "object") args[0] = redirected(first);
  else if (typeof second === "string") args = [redirected({ port: first, host: second }), ...rest];
  return connect.apply(this, args);
};
