// For Node before 22.21 and 24.5, which do not read HTTPS_PROXY: connections to the service's hosts
// go to the double's own ports. TLS stays as it is: the name is checked, and the authority comes
// with NODE_EXTRA_CA_CERTS.
"use strict";

const net = require("node:net");
const { hosts, ports } = JSON.parse(process.env.TDPOSTBACK_REDIRECT);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  const given = Array.isArray(args[0]) ? args[0] : net._normalizeArgs(args);
  const options = given[0];
  const host = String(options.host || "").replace(/\.$/, "").toLowerCase();
  const port = ports[options.port];
  if (!hosts.includes(host)) return connect.apply(this, args);
  if (!port) throw new Error(`tdpostback: only ports 80 and 443 of ${host} are redirected`);
  given[0] = { ...options, host: "127.0.0.1", port, lookup: undefined };
  return connect.call(this, given);
};
