-- What is done to one call besides drawing. ARGV: owner, what is to be done, and what that needs.
local what, argument = ARGV[2], ARGV[3]
local moment = now()

local function lanes_of(recorder)
    local lanes, whose = {}, call('HGETALL', base .. ':h:' .. recorder)
    for n = 1, #whose, 2 do
        if whose[n] ~= 'end' then
            lanes[whose[n + 1]] = true
        end
    end
    return lanes
end

local function forget_lanes(recorder)
    for lane in pairs(lanes_of(recorder)) do
        call('DEL', base .. ':q:' .. recorder .. '\0' .. lane)
    end
    call('DEL', base .. ':h:' .. recorder)
    call('SREM', base .. ':m', recorder)
end

-- Take what is in flight of a reader, or of all, away from those who have it; return of which readers there was any.
local function call_back(reader)
    local readers = {}
    for _, owner in ipairs(call('HKEYS', base .. ':o')) do
        for _, field in ipairs(call('HKEYS', base .. ':i:' .. owner)) do
            local _, of = in_flight(field)
            if of and (not reader or of == reader) then
                readers[of] = true
                call('HDEL', base .. ':i:' .. owner, field)
            end
        end
    end
    return readers
end

local function is_held()
    return #call('HKEYS', base .. ':o') > 0
end

local function sizes()
    local samples, last = call('HGETALL', base .. ':s'), 0
    for n = 2, #samples, 2 do
        last = math.max(last, (struct.unpack('>d', samples[n])))
    end
    return #samples / 2, last
end

-- Remove a call; readers that are drawing it are told that their sequence is no more, and who is filling a slot goes on.
local function forget()
    local samples, drawing = call('HLEN', base .. ':s'), call_back(nil)
    for _, reader in ipairs(call('HKEYS', base .. ':r')) do
        call('DEL', base .. ':f:' .. reader, base .. ':x:' .. reader)
    end
    for _, recorder in ipairs(call('SMEMBERS', base .. ':m')) do
        forget_lanes(recorder)
    end
    call('DEL', base .. ':r', base .. ':s', base .. ':d', base .. ':u')
    call('HDEL', base .. ':call', 'used')
    local count = 0
    for reader in pairs(drawing) do
        count = count + 1
        set_cursor(reader, '-' .. string.format('%.0f', tonumber(argument) + count), 0)
    end
    local is_kept = is_held() or count > 0
    if not is_kept then
        call('DEL', base .. ':call')
    end
    return {samples, is_kept and 1 or 0}
end

local function set_back(reader)
    call('DEL', base .. ':f:' .. reader, base .. ':x:' .. reader)
    call_back(reader)
end

local doing = {}

function doing.forget()
    return forget()
end

-- Forget it unless it was used since, or is being drawn.
function doing.evict()
    local samples, last = sizes()
    local used = math.max(last, tonumber(call('HGET', base .. ':call', 'used') or 0))
    if samples == 0 or used > tonumber(ARGV[4]) or is_held() then
        return {0, 1}
    end
    return {1, forget()[2]}
end

function doing.rewind()
    local reader, recorder, fresh = argument, ARGV[4], ARGV[5]
    if not cursor_of(reader) then
        return 0
    end
    set_back(reader)
    set_cursor(reader, fresh, reserve(reader, recorder, 0))
    return 1
end

function doing.drop()
    local reader = argument
    if call('SISMEMBER', base .. ':m', reader) == 1 then
        forget_lanes(reader)
    end
    if not cursor_of(reader) then
        return 0
    end
    set_back(reader)
    call('HDEL', base .. ':r', reader)
    return 1
end

-- A process leaves. What its draws have in hand, whose tickets are given, counts as delivered where its slot is filled.
function doing.leave()
    local aloft, claims = {}, {}
    for n = 3, #ARGV do
        aloft[ARGV[n]] = true
    end
    local held = call('HGETALL', base .. ':i:' .. me)
    for n = 1, #held, 2 do
        local slot = claimed(held[n])
        if slot then
            claims[held[n + 1] .. ':' .. slot] = true
        end
    end
    bury(me, function(of)
        local ticket, slot = string.match(of, '^(%d+):(%d+)$')
        return aloft[ticket] and not claims[of] and call('HEXISTS', base .. ':s', slot) == 1
    end)
    return 0
end

-- Be alive still; who was buried meanwhile is not.
function doing.beat()
    if call('HEXISTS', base .. ':o', me) == 1 then
        live(moment, tonumber(argument))
        return 1
    end
    return 0
end

-- Tell which of some slots somebody alive is filling, 1 for this owner and 2 for others, and that somebody waits for them.
function doing.wait()
    local holders = {}
    for n = 3, #ARGV do
        local holder = call('HGET', base .. ':c', ARGV[n])
        if holder then
            call('SADD', base .. ':w', ARGV[n])
            holders[#holders + 1] = string.match(holder, '^%x+') == me and 1 or 2
        else
            holders[#holders + 1] = 0
        end
    end
    return holders
end

-- Note that it was used, and which slots by whom: stretches that touch are one.
function doing.use()
    local at, run, first, last = argument, ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
    if call('HEXISTS', base .. ':call', 'made') == 0 then
        return 0
    end
    if tonumber(call('HGET', base .. ':call', 'used') or 0) < tonumber(at) then
        call('HSET', base .. ':call', 'used', at)
    end
    if run ~= '' then
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
    return 1
end

function doing.held()
    return is_held() and 1 or 0
end

-- Move it away: nobody draws until that is done, or the moment has come until which it may take. Return all it has.
function doing.lift()
    local moving = call('HGET', base .. ':call', 'moving')
    if is_held() or moving and tonumber(moving) > moment then
        return 0
    end
    if call('EXISTS', base .. ':call') == 0 then
        return {}
    end
    call('HSET', base .. ':call', 'moving', string.format('%.0f', moment + tonumber(argument)))
    if call('EXISTS', base .. ':r') == 1 then
        call('RENAME', base .. ':r', base .. ':r~')
    end
    local readers, lanes = {}, {}
    local cursors = call('HGETALL', base .. ':r~')
    for n = 1, #cursors, 2 do
        readers[#readers + 1] = {cursors[n], tonumber(string.match(cursors[n + 1], '%d+$')), loose_of(cursors[n])}
    end
    for _, recorder in ipairs(call('SMEMBERS', base .. ':m')) do
        for lane in pairs(lanes_of(recorder)) do
            lanes[#lanes + 1] = {recorder, lane, call('LRANGE', base .. ':q:' .. recorder .. '\0' .. lane, 0, -1)}
        end
    end
    return {call('HGETALL', base .. ':s'), readers, lanes, call('SMEMBERS', base .. ':d'), call('HGETALL', base .. ':u'),
        call('HMGET', base .. ':call', 'made', 'used')}
end

-- Put back what was to be moved away.
function doing.settle()
    call('HDEL', base .. ':call', 'moving')
    if call('EXISTS', base .. ':r~') == 1 then
        call('RENAME', base .. ':r~', base .. ':r')
    end
    return 0
end

-- Remove what was moved away, unless it is another one by now.
function doing.vacate()
    if call('HGET', base .. ':call', 'made') ~= ARGV[4] then
        return 0
    end
    if call('EXISTS', base .. ':r~') == 1 then
        call('RENAME', base .. ':r~', base .. ':r')
    end
    forget()
    call('DEL', base .. ':call')
    return 0
end

local function end_of_call()
    local upto = 0
    for _, slot in ipairs(call('HKEYS', base .. ':s')) do
        upto = math.max(upto, slot + 1)
    end
    for _, stands in ipairs(call('HVALS', base .. ':r')) do
        upto = math.max(upto, tonumber(string.match(stands, '%d+$')))
    end
    for _, recorder in ipairs(call('SMEMBERS', base .. ':m')) do
        upto = math.max(upto, end_of_lanes(recorder))
    end
    return upto
end

-- Take what was moved away from another call, after everything that is here. A move is done once.
function doing.absorb()
    local given, about, fresh = cmsgpack.unpack(argument), cmsgpack.unpack(ARGV[4]), tonumber(ARGV[5])
    local samples, readers, lanes, count_replaced, uses, times = unpack(given)
    if is_held() then
        return -1
    end
    if call('HGET', base .. ':call', 'moved') == ARGV[6] then
        return 0
    end
    local start = end_of_call()
    if call('EXISTS', base .. ':call') == 0 then
        call('HSET', base .. ':call', 'key', about[1], 'function', about[2], 'form', about[3], 'made', times[1])
    end
    call('HSET', base .. ':call', 'moved', ARGV[6])
    if tonumber(times[2]) > tonumber(call('HGET', base .. ':call', 'used') or 0) then
        call('HSET', base .. ':call', 'used', times[2])
    end
    for n, one in ipairs(samples) do
        call('HSET', base .. ':s', start + one, ARGV[6 + count_replaced + n])
    end
    for n, each in ipairs(readers) do
        local reader, free = each[1], {}
        local _, next = cursor_of(reader)
        for _, at in ipairs(loose_of(reader)) do
            free[#free + 1] = tonumber(at)
        end
        if not each[4] then
            for _, at in ipairs(stretch(next or 0, start - 1)) do
                free[#free + 1] = at
            end
        end
        for _, at in ipairs(each[3]) do
            free[#free + 1] = start + at
        end
        call('DEL', base .. ':x:' .. reader)
        add_free(reader, free)
        set_cursor(reader, string.format('%.0f', fresh + n), start + each[2])
    end
    for _, each in ipairs(lanes) do
        for _, at in ipairs(each[3]) do
            record(each[1], each[2], start + at)
        end
    end
    for n = 7, 6 + count_replaced do
        local slot, rest = string.match(ARGV[n], '^(%d+):(.*)$')
        call('SADD', base .. ':d', (start + slot) .. ':' .. rest)
    end
    for _, each in ipairs(uses) do
        ARGV[3], ARGV[4], ARGV[5], ARGV[6] = '0', each[1], start + each[2], start + each[3]
        argument = '0'
        doing.use()
    end
    return 0
end

-- What a load of samples from elsewhere asks for.

function doing.bring()
    if call('EXISTS', base .. ':call') == 0 then
        call('HSET', base .. ':call', 'key', ARGV[4], 'function', ARGV[5], 'form', ARGV[6], 'made', argument,
            'used', ARGV[7])
    end
    return 1
end

function doing.reached()
    local upto = 0
    for _, key in ipairs({base .. ':s', base .. ':c'}) do
        for _, slot in ipairs(call('HKEYS', key)) do
            upto = math.max(upto, slot + 1)
        end
    end
    for _, recorder in ipairs(call('SMEMBERS', base .. ':m')) do
        upto = math.max(upto, end_of_lanes(recorder))
    end
    return upto
end

function doing.record()
    for n = 5, #ARGV do
        record(argument, ARGV[4], tonumber(ARGV[n]))
    end
    return 1
end

function doing.drawn()
    local _, next = cursor_of(argument)
    return {next or 0, call('ZRANGE', base .. ':f:' .. argument, 0, -1)}
end

function doing.set_cursor()
    local reader, changes = argument, cmsgpack.unpack(ARGV[5])
    local generation, next = cursor_of(reader)
    set_cursor(reader, generation or ARGV[6], math.max(next or 0, tonumber(ARGV[4])))
    with_many('ZREM', base .. ':f:' .. reader, changes[1])
    add_free(reader, changes[2])
    return 1
end

bury_the_dead(moment)
return doing[what]()
