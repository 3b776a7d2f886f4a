"""The host board in Redis: a hash for each host, with the latest estimate and how each worker uses the host."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from arq.connections import ArqRedis
from pydantic import TypeAdapter, ValidationError

from imgsvc.adapters.redis.replies import in_time, integer, parts, reply, text
from imgsvc.errors import QueueUnavailable
from imgsvc.services.throttling.host_estimate import SAME_TIME, HostEstimate, HostUse
from imgsvc.services.throttling.shared_host import Entry, Report

HOST = "imgsvc:host:"
"""Key prefix, followed by the host."""
KEPT_FOR = timedelta(seconds=60)
"""Time for which a host is remembered after its last fetch."""
USE_LIFETIME = 2.0
"""Seconds without a report after which a worker uses a host no longer: it has stopped, or cannot reach Redis."""

_ESTIMATE, _USE = TypeAdapter(HostEstimate), TypeAdapter(HostUse)
_ARGUMENTS_PER_HOST = 4

# KEYS: one for each host. ARGV: worker, KEPT_FOR in ms, USE_LIFETIME in s; then of each host the version and the
# estimate ('' for none), the time of its refusal, and the use ('' for none). The reply: the time in s, then of each
# host the version, the estimate, and the name and the use of each worker.
EXCHANGE = f"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local worker, reply = ARGV[1], {{string.format('%.6f', now)}}
for i, key in ipairs(KEYS) do
  local first = {_ARGUMENTS_PER_HOST} * i
  local version, estimate, refused_at, use = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3]
  local latest = redis.call('HMGET', key, 'version', 'refused_at')
  local is_based_on_latest = not latest[1] or latest[1] == version
  if estimate ~= '' and (is_based_on_latest or tonumber(refused_at) > tonumber(latest[2]) + {SAME_TIME}) then
    local next = string.format('%d', (latest[1] or version) + 1)
    redis.call('HSET', key, 'version', next, 'refused_at', refused_at, 'estimate', estimate)
  end
  if use == '' then
    redis.call('HDEL', key, 'use ' .. worker)
  else
    redis.call('HSET', key, 'use ' .. worker, string.format('%.6f ', now) .. use)
  end
  local entry, fields = {{0, ''}}, redis.call('HGETALL', key)
  for j = 1, #fields, 2 do
    local name, value = fields[j], fields[j + 1]
    if name == 'version' then entry[1] = tonumber(value)
    elseif name == 'estimate' then entry[2] = value
    elseif name ~= 'refused_at' then
      local reported_at, use_of_worker = string.match(value, '^(%S+) (.*)$')
      if math.abs(now - reported_at) > tonumber(ARGV[3]) then redis.call('HDEL', key, name)
      else
        entry[#entry + 1] = string.sub(name, 5)
        entry[#entry + 1] = use_of_worker
      end
    end
  end
  redis.call('PEXPIRE', key, ARGV[2])
  reply[i + 1] = entry
end
return reply
"""


class RedisHostBoard:
    """The port `HostBoard`. One command for each exchange, whatever the number of hosts."""

    def __init__(self, redis: ArqRedis, *, timeout: float) -> None:
        self._redis = redis
        self._timeout = timeout

    async def exchange(self, worker: str, reports: Mapping[str, Report]) -> tuple[float, dict[str, Entry]]:
        arguments: list[Any] = [worker, int(KEPT_FOR.total_seconds() * 1000), USE_LIFETIME]
        for report in reports.values():
            arguments += _arguments(report)
        keys = [HOST + host for host in reports]
        async with in_time(self._timeout):
            found = await reply(self._redis.register_script(EXCHANGE)(keys, arguments))
        time, *entries = parts(found, 1 + len(reports))
        try:
            return float(text(time)), {host: _entry(entry) for host, entry in zip(reports, entries, strict=True)}
        except ValueError as exc:
            raise QueueUnavailable("Redis is unavailable: a host that cannot be read") from exc


def _arguments(report: Report) -> list[Any]:
    estimate, use = report.estimate, report.use
    return [
        report.version,
        _ESTIMATE.dump_json(estimate) if estimate else "",
        estimate.last_refusal if estimate else 0,
        _USE.dump_json(use) if use else "",
    ]


def _entry(found: object) -> Entry:
    """Return the entry of a host. What cannot be read was written by a worker of another version, and is ignored."""
    version, estimate, *uses = parts(found, len(found) if isinstance(found, list) else 0)
    names = [text(name) for name in uses[::2]]
    read = {name: _read(_USE, text(use)) for name, use in zip(names, uses[1::2], strict=True)}
    return Entry(
        integer(version), _read(_ESTIMATE, text(estimate)), {name: use for name, use in read.items() if use is not None}
    )


def _read(kind: TypeAdapter[Any], json: str) -> Any:
    try:
        return kind.validate_json(json) if json else None
    except ValidationError:
        return None
