"""The Lua scripts of the queue: each moves jobs in one atomic step and reads the time from Redis.

A queue has two sorted sets. The one with the queue's name holds the jobs that wait, by the time they are due, in
milliseconds; the one of `running_key` holds those that a worker runs, by the time at which they go back to the queue
unless the worker renews them. Lanes that are due are given a turn: their score becomes a virtual time below `_TURNS`.
"""

from arq.constants import job_key_prefix

CHANNEL = "imgsvc:wake"
"""Pub/sub: the name of a queue, whenever a job of it becomes due at once."""
ADMITTED_AT_ONCE = 1_000
"""Lanes that are given a turn by one script, which takes about 3 ms for them."""

_TURNS = 10**12
"""No lane has this many turns, and every time in milliseconds since 2001 is later."""

_MAX_HELD_PER_FREE = 3
"""As in `FairSemaphore`: one key holds at most three quarters of a worker's places."""

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: queue, running. ARGV: time in ms or '', lifetime of the jobs in ms, NX (leave scheduled jobs) or LT (bring them
# forward), then id and data of each job.
ENQUEUE = f"""{_NOW}
local at, woken = tonumber(ARGV[1]) or now, false
for i = 4, #ARGV, 2 do
  if not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    redis.call('SET', '{job_key_prefix}' .. ARGV[i], ARGV[i + 1], 'PX', ARGV[2])
    woken = redis.call('ZADD', KEYS[1], ARGV[3], 'CH', at, ARGV[i]) == 1 or woken
  end
end
if woken and at <= now then redis.call('PUBLISH', '{CHANNEL}', KEYS[1]) end
return 1
"""

# KEYS: queue, running. ARGV: id, time in ms or ''. A job whose data is gone was lost with Redis: the sweep repeats it.
PUT_BACK = f"""{_NOW}
local at = tonumber(ARGV[2]) or now
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('EXISTS', '{job_key_prefix}' .. ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[1], 'LT', at, ARGV[1])
  if at <= now then redis.call('PUBLISH', '{CHANNEL}', KEYS[1]) end
end
return 1
"""

# KEYS: running. ARGV: ms until the jobs go back to the queue, then their ids.
RENEW = f"""{_NOW}
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', now + ARGV[1], ARGV[i]) end
return 1
"""

# KEYS: queue, running. ARGV: ms until the jobs go back to the queue, how many to take.
_RETURN_JOBS_OF_DEAD_WORKERS = f"""{_NOW}
local queue, running, at_most = KEYS[1], KEYS[2], tonumber(ARGV[2])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', running, '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', running, id)
  redis.call('ZADD', queue, 'LT', now, id)
end
"""

# The reply: ms until the next job is due (-1: none is scheduled), and the ids of the jobs taken.
_MOVE_AND_REPLY = """
for _, id in ipairs(taken) do
  redis.call('ZREM', queue, id)
  redis.call('ZADD', running, now + ARGV[1], id)
end
local next = redis.call('ZRANGEBYSCORE', queue, '(' .. later_than, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {next[2] and math.max(0, math.ceil(next[2] - now)) or -1, taken}
"""

TAKE = f"""{_RETURN_JOBS_OF_DEAD_WORKERS}
local later_than, taken = '-inf', redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, at_most)
{_MOVE_AND_REPLY}"""

# Start-time fair queueing (Goyal, Vin and Cheng, 1996): the tag of a key's next lane is 1/weight after that of its last
# one, or after the first lane that waits, if that is later. KEYS also: tags of the last lanes by key. ARGV also: free
# places of the worker, weights by key, places held by key (both JSON). A lane's id begins with its key.
#
# The lanes that have a turn are also in a set for each key, so that a key at its limit is passed over at once, however
# many of its lanes wait. A lane that left the queue in another way is dropped from there when it comes first. Lanes in
# no such set, because Redis was full or a key was lost, get a new turn when no others wait.
TAKE_LANES = f"""{_RETURN_JOBS_OF_DEAD_WORKERS}
local later_than, turns, free = {_TURNS}, KEYS[3], tonumber(ARGV[3])
local weights, held = cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
local firsts, lanes_of = turns .. ':first', turns .. ':of:'

local first = redis.call('ZRANGE', firsts, 0, 0, 'WITHSCORES')[2]
if not first then
  redis.call('DEL', turns)
  local strays = redis.call('ZRANGEBYSCORE', queue, '-inf', later_than, 'LIMIT', 0, {ADMITTED_AT_ONCE})
  for _, id in ipairs(strays) do redis.call('ZADD', queue, now, id) end
  if #strays > 0 then return {{0, {{}}}} end
end

local due = redis.call('ZRANGEBYSCORE', queue, '(' .. later_than, now, 'LIMIT', 0, {ADMITTED_AT_ONCE})
local last, tags, tags_of = {{}}, {{}}, {{}}
for _, id in ipairs(due) do
  local key = string.match(id, '^[^:]*')
  local before = last[key] or tonumber(redis.call('HGET', turns, key) or 0)
  last[key] = math.max(before, tonumber(first or 0)) + 1 / (weights[key] or 1)
  tags_of[key] = tags_of[key] or {{}}
  for _, list in ipairs({{tags, tags_of[key]}}) do list[#list + 1], list[#list + 2] = last[key], id end
end
for key, list in pairs(tags_of) do
  redis.call('ZADD', firsts, 'NX', list[1], key)
  redis.call('ZADD', lanes_of .. key, unpack(list))
  redis.call('HSET', turns, key, last[key])
end
if #due > 0 then redis.call('ZADD', queue, unpack(tags)) end
if #due == {ADMITTED_AT_ONCE} then return {{0, {{}}}} end

local function first_lane(key)
  while true do
    local lane = redis.call('ZRANGE', lanes_of .. key, 0, 0, 'WITHSCORES')
    if not lane[1] then
      redis.call('ZREM', firsts, key)
      return nil
    end
    if tonumber(redis.call('ZSCORE', queue, lane[1]) or now) <= later_than then
      redis.call('ZADD', firsts, lane[2], key)
      return lane[1]
    end
    redis.call('ZREM', lanes_of .. key, lane[1])
  end
end

local taken, holders = {{}}, 0
for _ in pairs(held) do holders = holders + 1 end
local function next_key()
  for _, key in ipairs(redis.call('ZRANGE', firsts, 0, holders)) do
    local has = held[key] or 0
    if has == 0 or has + 1 <= {_MAX_HELD_PER_FREE} * free then return key end
  end
end

local key = next_key()
while key and #taken < at_most do
  local id = first_lane(key)
  if id then
    if not held[key] then holders = holders + 1 end
    taken[#taken + 1], held[key], free = id, (held[key] or 0) + 1, free - 1
    redis.call('ZREM', lanes_of .. key, id)
    first_lane(key)
  end
  key = next_key()
end
{_MOVE_AND_REPLY}"""


def running_key(queue_name: str) -> str:
    """Return the key of the jobs of a queue that workers run."""
    return queue_name + ":running"


def turns_key(queue_name: str) -> str:
    """Return the key of the turns that API keys have had, while lanes wait."""
    return queue_name + ":turns"
