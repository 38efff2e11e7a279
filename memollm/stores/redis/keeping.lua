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
        remove_cursor(reader)
    end
    for _, recorder in ipairs(call('SMEMBERS', base .. ':m')) do
        forget_lanes(recorder)
    end
    call('UNLINK', base .. ':r', base .. ':s', base .. ':d', base .. ':u', base .. ':t', base .. ':e', base .. ':l', base .. ':g')
    call('HDEL', base .. ':call', 'used', 'lends')
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

local function forget_drawn(reader)
    for _, stretch in ipairs(call('HKEYS', base .. ':t')) do
        if string.match(stretch, '^[^%z]*%z([^%z]*)%z') == reader then
            call('HDEL', base .. ':t', stretch)
        end
    end
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
    forget_drawn(reader)
    if not cursor_of(reader) then
        return 0
    end
    set_back(reader)
    remove_cursor(reader)
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

-- Note that it was used, and which slots by whom. ARGV: ..., when, and then a run, a first and a last slot of each stretch.
function doing.use()
    local at = argument
    if call('HEXISTS', base .. ':call', 'made') == 0 then
        return 0
    end
    if tonumber(call('HGET', base .. ':call', 'used') or 0) < tonumber(at) then
        call('HSET', base .. ':call', 'used', at)
    end
    for n = 4, #ARGV, 3 do
        note_use(ARGV[n], tonumber(ARGV[n + 1]), tonumber(ARGV[n + 2]))
    end
    return 1
end

-- Note what runs were given. ARGV: ..., fields and values.
function doing.transcribe()
    if call('HEXISTS', base .. ':call', 'made') == 1 then
        note_drawn(ARGV, 3)
    end
    return 0
end

function doing.held()
    return is_held() and 1 or 0
end

-- What was to be moved away stays.
function doing.settle()
    local leaving = call('HGET', base .. ':call', 'leaving')
    local owner, id = string.match(leaving or '', '^(%x+):(%d+):')
    if owner and owner .. ':' .. id == argument then
        call('HDEL', base .. ':call', 'leaving')
        end_move(owner, id)
    end
    return 0
end

-- What was moved away is gone.
function doing.vacate()
    local leaving = call('HGET', base .. ':call', 'leaving')
    local owner, id = string.match(leaving or '', '^(%x+):(%d+):')
    if owner and owner .. ':' .. id == argument then
        end_move(owner, id)
        forget()
        call('DEL', base .. ':call')
    end
    return 0
end

local goes_on = {evict = true, leave = true, beat = true, wait = true, use = true, held = true, transcribe = true, settle = true, vacate = true}

bury_the_dead(moment)
if not goes_on[what] then
    require_still(unpack(call('HMGET', base .. ':call', 'joining', 'leaving')))
end
return doing[what]()
