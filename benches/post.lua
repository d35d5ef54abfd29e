-- wrk's request: a POST of 64 bytes of JSON.   -- DEVICES TOKEN PREFER
local body = '{"temperature":21.5,"pressure":1013.25,"pump":"on","seq":100001}'
local requests, nth = {}, 0

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  if args[2] and args[2] ~= "" then headers["Authorization"] = "Bearer " .. args[2] end
  if args[3] and args[3] ~= "" then headers["Prefer"] = args[3] end
  for device = 0, tonumber(args[1]) - 1 do
    requests[device] = wrk.format("POST", "/v1/devices/bench-" .. device .. "/uplinks", headers, body)
  end
  count = tonumber(args[1])
end

function request()
  nth = (nth + 1) % count
  return requests[nth]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"rate": %.1f, "p50_us": %d, "p99_us": %d, "failed": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
