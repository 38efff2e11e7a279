-- What the scripts of a call share. All its keys begin with KEYS[1], which ends in the call's hash tag. KEYS[1] itself is
-- never there: that is why no node of a cluster begins a script where a part of a call's keys is on its way to another.
--     :call   what it is                              :r            reader -> generation:next, its cursor
--     :s      slot -> head and record of a sample     :f:READER     its free positions
--     :c      slot -> owner:ticket of who fills it    :x:READER     its positions that were given and not kept
--     :w      slots that somebody waits for           :h:RECORDER   position -> lane, and `end`, past all of them
--     :o      owner -> end of its lease               :q:RECORDER\0LANE   what the lane was given, in its order
--     :d      what was replaced                       :m            the recorders
--     :u      run -> stretches of slots it used       :a:OWNER:ID   what was answered, for who asks again
--     :e      space -> number and vector, in it       :l            0 or 1 (a shadow) -> what it was given, being similar
--     :t      runner\0reader\0first -> last:moment:lane of what runs were given
--     `cache` of :call   of which cache it is, by what that is known, since its list took it
--     :g      whom something of it was given          `lends` of :call   a mark of those, while it has what they were given
--     :z:GENERATION   for a day, that this cursor was removed; one that is gone without it was lost by a fail-over
--     :n:OWNER:ID   samples on their way here, of no slot yet     :v:OWNER:ID   what became of a move that came here
--     :i:OWNER   what it has: cSLOT -> ticket of a claim, pPOSITION:READER -> ticket:slot of a position in flight, and
--                m -> id of what it moves here or away, as `:call` says: joining OWNER:ID, or leaving OWNER:ID:TAG
-- An owner is in `:o` as long as it has something. Whoever comes after its lease has ended buries it. What it moved here
-- is not there then; what it moved away may be in both places, and whoever comes asks the other which of the two holds.
local call = redis.call
local base, me = KEYS[1], ARGV[1]
local FARTHEST, REMEMBERED, MANY = 16777216, 3600000, 1000

local function now()
    local time = call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function refuse(code, what)
    error(code .. ' ' .. (what or ''), 0)
end

-- Do a command for many arguments, some at a time.
local function with_many(command, key, arguments)
    for first = 1, #arguments, MANY do
        call(command, key, unpack(arguments, first, math.min(first + MANY - 1, #arguments)))
    end
end

local function add_free(reader, positions)
    local pairs_of = {}
    for _, at in ipairs(positions) do
        pairs_of[#pairs_of + 1] = at
        pairs_of[#pairs_of + 1] = at
    end
    with_many('ZADD', base .. ':f:' .. reader, pairs_of)
end

local function stretch(first, last)
    if last - first >= FARTHEST then
        refuse('MMFAR', last - first + 1)
    end
    local positions = {}
    for at = first, last do
        positions[#positions + 1] = at
    end
    return positions
end

-- Owners.

local function tell(slot)
    if call('SREM', base .. ':w', slot) == 1 then
        call('PUBLISH', string.match(base, '^(.-):{') .. ':told', 's ' .. base .. ' ' .. slot)
    end
end

local function end_claim(owner, ticket, slot)
    local held = call('HGET', base .. ':i:' .. owner, 'c' .. slot)
    if held and (not ticket or held == ticket) then
        call('HDEL', base .. ':i:' .. owner, 'c' .. slot)
        call('HDEL', base .. ':c', slot)
        tell(slot)
    end
end

local function in_flight(field)
    return string.match(field, '^p(%d+):(.*)$')
end

local function claimed(field)
    return string.match(field, '^c(%d+)$')
end

-- Let an owner have nothing any more. `is_given` tells of a position in flight whether it counts as delivered.
local function bury(owner, is_given)
    local held = call('HGETALL', base .. ':i:' .. owner)
    for n = 1, #held, 2 do
        local at, reader = in_flight(held[n])
        if at and not (is_given and is_given(held[n + 1])) then
            call('ZADD', base .. ':f:' .. reader, at, at)
        end
    end
    for n = 1, #held, 2 do
        local slot = claimed(held[n])
        if slot then
            end_claim(owner, nil, slot)
        elseif held[n] == 'm' and call('HGET', base .. ':call', 'joining') == owner .. ':' .. held[n + 1] then
            call('HDEL', base .. ':call', 'joining')
        end
    end
    call('DEL', base .. ':i:' .. owner)
    call('HDEL', base .. ':o', owner)
end

local function bury_the_dead(moment)
    local owners = call('HGETALL', base .. ':o')
    for n = 1, #owners, 2 do
        if owners[n] ~= me and tonumber(owners[n + 1]) <= moment then
            bury(owners[n])
        end
    end
end

-- Live as long as there is something to live for.
local function live(moment, lease)
    if call('EXISTS', base .. ':i:' .. me) == 1 then
        call('HSET', base .. ':o', me, string.format('%.0f', moment + lease))
    else
        call('HDEL', base .. ':o', me)
    end
end

-- Who moves a call here or away has nothing of it any more.
local function end_move(owner, id)
    if call('HGET', base .. ':i:' .. owner, 'm') == id then
        call('HDEL', base .. ':i:' .. owner, 'm')
        if call('EXISTS', base .. ':i:' .. owner) == 0 then
            call('HDEL', base .. ':o', owner)
        end
    end
end

-- Refuse a call that is being moved; the dead are buried, but for this owner.
local function require_still(joining, leaving)
    local mover = string.match(leaving or joining or '', '^%x+')
    local lives = mover and tonumber(call('HGET', base .. ':o', mover) or 0) > now()
    if leaving and not lives then
        refuse('MMHALFWAY', base .. ' ' .. leaving)
    elseif lives then
        refuse('MMMOVING')
    elseif joining then
        call('HDEL', base .. ':call', 'joining')
    end
end

local function is_in_flight(reader, at)
    for _, owner in ipairs(call('HKEYS', base .. ':o')) do
        if call('HEXISTS', base .. ':i:' .. owner, 'p' .. at .. ':' .. reader) == 1 then
            return true
        end
    end
    return false
end

-- Cursors and lanes.

local function cursor_of(reader)
    local stands = call('HGET', base .. ':r', reader)
    if not stands then
        return nil
    end
    local generation, next = string.match(stands, '^(-?%d+):(%d+)$')
    return generation, tonumber(next)
end

local function set_cursor(reader, generation, next)
    call('HSET', base .. ':r', reader, generation .. ':' .. string.format('%.0f', next))
end

-- Note that a cursor is removed, so that nobody takes it for lost.
local function remove_cursor(reader)
    local generation = cursor_of(reader)
    if generation then
        call('SET', base .. ':z:' .. generation, 1, 'PX', 86400000)
        call('HDEL', base .. ':r', reader)
    end
end

local function end_of_lanes(recorder)
    return tonumber(call('HGET', base .. ':h:' .. recorder, 'end') or 0)
end

local function record(recorder, lane, at)
    if call('HSETNX', base .. ':h:' .. recorder, at, lane) == 1 then
        call('RPUSH', base .. ':q:' .. recorder .. '\0' .. lane, at)
        call('SADD', base .. ':m', recorder)
        if at >= end_of_lanes(recorder) then
            call('HSET', base .. ':h:' .. recorder, 'end', at + 1)
        end
    end
end

-- Pass over what is recorded for lanes from the cursor on; return where the cursor stands then.
local function reserve(reader, recorder, next)
    local upto = end_of_lanes(recorder)
    if upto <= next then
        return next
    end
    add_free(reader, stretch(next, upto - 1))
    return upto
end

-- A reader's positions that it was not given: free, refused, or in flight.
local function loose_of(reader)
    local loose = call('ZRANGE', base .. ':f:' .. reader, 0, -1)
    for _, at in ipairs(call('SMEMBERS', base .. ':x:' .. reader)) do
        loose[#loose + 1] = at
    end
    for _, owner in ipairs(call('HKEYS', base .. ':o')) do
        for _, field in ipairs(call('HKEYS', base .. ':i:' .. owner)) do
            local at, of = in_flight(field)
            if of == reader then
                loose[#loose + 1] = at
            end
        end
    end
    return loose
end

-- Note what runs were given, as fields and values of a hash, from one of them on. What was given before keeps its place.
local function note_drawn(drawn, from)
    for n = from, #drawn, 2 do
        local had = call('HGET', base .. ':t', drawn[n])
        local last, rest = string.match(had or '', '^(%d+)(.*)$')
        local now = string.match(drawn[n + 1], '^%d+')
        if not had then
            call('HSET', base .. ':t', drawn[n], drawn[n + 1])
        elseif tonumber(last) < tonumber(now) then
            call('HSET', base .. ':t', drawn[n], now .. rest)
        end
    end
end

-- Note which slots a run used: stretches that touch are one.
local function note_use(run, first, last)
    local known, apart = call('HGET', base .. ':u', run), {}
    for _, one in ipairs(known and cmsgpack.unpack(known) or {}) do
        if one[1] <= last + 1 and one[2] >= first - 1 then
            first, last = math.min(first, one[1]), math.max(last, one[2])
        else
            apart[#apart + 1] = one
        end
    end
    apart[#apart + 1] = {first, last}
    table.sort(apart, function(one, other) return one[1] < other[1] end)
    call('HSET', base .. ':u', run, cmsgpack.pack(apart))
end
