-- How what comes from elsewhere gets into a call: all at once. Who brings it holds the call meanwhile, so that nobody is
-- given anything of it; what others fill, and give back, is taken all the same. A call that leaves is held, too.
-- ARGV: owner, what is to be done, the id of the move, and what that needs.
local what, id = ARGV[2], ARGV[3]
local moment = now()
local mine, about = me .. ':' .. id, base .. ':call'
local doing = {}

local function slots_of(key)
    return call('HKEYS', base .. key)
end

-- Hold it, unless it has to be `alone` and somebody has something of it. ARGV: ..., lease, 'joining' or 'leaving', what
-- else is to be known of the move, '1' if alone. Return what is known of the call.
function doing.hold()
    local lease, mark, alone = tonumber(ARGV[4]), ARGV[5], ARGV[7] == '1'
    local marks = call('HMGET', about, 'joining', 'leaving')
    local held = mine .. ARGV[6]
    if marks[1] ~= held and marks[2] ~= held then
        require_still(marks[1], marks[2])
        if alone and call('EXISTS', base .. ':o') == 1 then
            return 0
        end
        call('HSET', about, mark, held)
        call('HSET', base .. ':i:' .. me, 'm', id)
    end
    live(moment, lease)
    return {call('HLEN', base .. ':s'), slots_of(':c'), call('SMEMBERS', base .. ':d')}
end

-- Hold it no more, and leave it as it was.
function doing.release()
    if call('HGET', about, 'joining') == mine then
        call('HDEL', about, 'joining')
    end
    end_move(me, id)
    return 0
end

-- The first slot that no sample, no claim and no lane has reached.
function doing.reached()
    local upto = 0
    for _, key in ipairs({':s', ':c'}) do
        for _, slot in ipairs(slots_of(key)) do
            upto = math.max(upto, slot + 1)
        end
    end
    for _, recorder in ipairs(call('SMEMBERS', base .. ':m')) do
        upto = math.max(upto, end_of_lanes(recorder))
    end
    return upto
end

function doing.drawn()
    local _, next = cursor_of(ARGV[4])
    return {next or 0, call('ZRANGE', base .. ':f:' .. ARGV[4], 0, -1)}
end

-- Joining.

local function has_any(slots)
    for _, slot in ipairs(slots) do
        if call('HEXISTS', base .. ':s', slot) == 1 then
            return true
        end
    end
    return false
end

local function put(slots, first)
    local pairs_of = {}
    for n, slot in ipairs(slots) do
        pairs_of[#pairs_of + 1] = slot
        pairs_of[#pairs_of + 1] = ARGV[first + n - 1]
    end
    with_many('HSET', base .. ':s', pairs_of)
end

-- Let what was brought before be samples of the call; what is less goes to what is more.
local function put_staged(staged)
    local more, less = base .. ':s', staged
    if call('HLEN', more) < call('HLEN', less) then
        more, less = less, more
    end
    local at = '0'
    repeat
        local found = call('HSCAN', less, at, 'COUNT', MANY)
        at = found[1]
        with_many('HSET', more, found[2])
    until at == '0'
    call('UNLINK', less)
    if more == staged then
        call('RENAME', staged, base .. ':s')
        call('PERSIST', base .. ':s')
    end
end

-- Let positions be a lane's, unless they are recorded.
local function record_all(recorder, lane, positions)
    local key, upto = base .. ':h:' .. recorder, end_of_lanes(recorder)
    for first = 1, #positions, MANY do
        local some = {unpack(positions, first, math.min(first + MANY - 1, #positions))}
        local new, pairs_of = {}, {}
        for n, known in ipairs(call('HMGET', key, unpack(some))) do
            if not known then
                new[#new + 1] = some[n]
                pairs_of[#pairs_of + 1] = some[n]
                pairs_of[#pairs_of + 1] = lane
                upto = math.max(upto, some[n] + 1)
            end
        end
        with_many('HSET', key, pairs_of)
        with_many('RPUSH', base .. ':q:' .. recorder .. '\0' .. lane, new)
    end
    if #positions > 0 then
        call('HSET', key, 'end', upto)
        call('SADD', base .. ':m', recorder)
    end
end

local function set_reader(reader, fresh, anew, upto, given, free)
    local generation, next = cursor_of(reader)
    if anew then
        call('DEL', base .. ':x:' .. reader)
        generation = nil
    end
    set_cursor(reader, generation or fresh, math.max(next or 0, tonumber(upto)))
    with_many('ZREM', base .. ':f:' .. reader, given)
    add_free(reader, free)
end

local function be_known(it)
    local used, known = it[5], call('HMGET', about, 'made', 'cache')
    if known[2] and known[2] ~= it[8] then
        refuse('MMEMPTIED')
    end
    call('HSET', about, 'cache', it[8])
    if not known[1] then
        call('HSET', about, 'key', it[1], 'function', it[2], 'form', it[3], 'made', it[4], 'used', used)
    elseif it[6] and tonumber(used) > tonumber(call('HGET', about, 'used') or 0) then
        call('HSET', about, 'used', used)
    end
end

-- Let all be there. ARGV: ..., what comes as MessagePack, the samples of some slots, and what was replaced. What comes is
--     {what the call is, with how many samples it had and of which cache, slots, how many more were brought before, how many were replaced,
--     lanes, readers, uses, what runs were given, a move}
-- Return 1, 0 if the call is not held any more, or -1 if somebody was faster with one of the slots.
function doing.join()
    local answer = base .. ':a:' .. me .. ':' .. id
    if call('EXISTS', answer) == 1 then
        return 1
    end
    local it, slots, count_staged, count_replaced, lanes, readers, uses, drawn, move = unpack(cmsgpack.unpack(ARGV[4]))
    local staged = base .. ':n:' .. mine
    if call('HGET', about, 'joining') ~= mine
        or call('HLEN', staged) ~= count_staged
        or move and call('EXISTS', base .. ':v:' .. move) == 1
    then
        return 0
    end
    if call('HLEN', base .. ':s') > it[7] and (has_any(slots) or count_staged > 0 and has_any(slots_of(':n:' .. mine))) then
        return -1
    end
    be_known(it)
    put(slots, 5)
    if count_staged > 0 then
        put_staged(staged)
    end
    for n = 5 + #slots, 4 + #slots + count_replaced do
        call('SADD', base .. ':d', ARGV[n])
    end
    for _, each in ipairs(lanes) do
        record_all(each[1], each[2], each[3])
    end
    for _, each in ipairs(readers) do
        set_reader(unpack(each))
    end
    for _, each in ipairs(uses) do
        note_use(each[1], each[2], each[3])
    end
    note_drawn(drawn, 1)
    if move then
        call('SET', base .. ':v:' .. move, 'here')
    end
    call('SET', answer, 1, 'PX', REMEMBERED)
    call('HDEL', about, 'joining')
    end_move(me, id)
    return 1
end

-- Moves that were cut short.

-- Tell whether a call is still held by who moves it away: 1 if so, 2 if that one has died.
function doing.halfway()
    local leaving = call('HGET', about, 'leaving')
    if not leaving or string.sub(leaving, 1, #ARGV[4] + 1) ~= ARGV[4] .. ':' then
        return 0
    end
    local lease = call('HGET', base .. ':o', (string.match(leaving, '^%x+')))
    return lease and tonumber(lease) > moment and 1 or 2
end

-- Tell whether a move came here; if not, it never will.
function doing.decide()
    local move = ARGV[4]
    if call('GET', base .. ':v:' .. move) == 'here' then
        return 1
    end
    call('SET', base .. ':v:' .. move, 'over', 'PX', 24 * REMEMBERED)
    return 0
end

-- Nobody asks any more what became of a move that came here.
function doing.forget_move()
    if call('GET', base .. ':v:' .. ARGV[4]) == 'here' then
        call('DEL', base .. ':v:' .. ARGV[4])
    end
    return 0
end

bury_the_dead(moment)
return doing[what]()
