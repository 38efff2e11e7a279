-- Which positions a draw gets. `fresh` is the number that generations of new cursors are made of.
local fresh, count_of_cursors = 0, 0
local function new_generation()
    count_of_cursors = count_of_cursors + 1
    return string.format('%.0f', tonumber(fresh) + count_of_cursors)
end

local function distinct(slots, at, pool)
    return not pool or not slots[at % pool]
end

-- What `choose_positions` of the package says: free positions first, then those from the cursor on. In a pool no two of
-- them read one slot.
local function choose(free, stands, n, pool)
    local chosen, slots = {}, {}
    for _, at in ipairs(free) do
        if #chosen < n and distinct(slots, at, pool) then
            chosen[#chosen + 1] = at
            slots[pool and at % pool or at] = true
        end
    end
    while pool do
        local ahead, kept = {}, {}
        for at = stands, stands + n - #chosen - 1 do
            ahead[at % pool] = true
        end
        for _, at in ipairs(chosen) do
            if not ahead[at % pool] then
                kept[#kept + 1] = at
            end
        end
        if #kept == #chosen then
            break
        end
        chosen = kept
    end
    for at = stands, stands + n - #chosen - 1 do
        chosen[#chosen + 1] = at
    end
    return chosen
end

-- What is recorded for a lane and free, in the lane's order; so many at most.
local function own(reader, recorder, lane, most)
    local found, first, free = {}, 0, base .. ':f:' .. reader
    if call('EXISTS', free) == 0 then
        return found
    end
    while true do
        local some = call('LRANGE', base .. ':q:' .. recorder .. '\0' .. lane, first, first + 199)
        for _, at in ipairs(some) do
            if call('ZSCORE', free, at) then
                found[#found + 1] = tonumber(at)
                if #found == most then
                    return found
                end
            end
        end
        if #some < 200 then
            return found
        end
        first = first + 200
    end
end

-- What is free and recorded for no lane, lowest first; so many at most.
local function free_for_all(reader, recorder, most)
    local found, first, lanes = {}, 0, base .. ':h:' .. recorder
    local has_lanes = call('EXISTS', lanes) == 1
    while true do
        local some = call('ZRANGE', base .. ':f:' .. reader, first, first + 199)
        local whose = has_lanes and #some > 0 and call('HMGET', lanes, unpack(some)) or {}
        for n, at in ipairs(some) do
            if not whose[n] then
                found[#found + 1] = tonumber(at)
                if #found == most then
                    return found
                end
            end
        end
        if #some < 200 then
            return found
        end
        first = first + 200
    end
end

-- Record so many more positions for each lane of an order, in turn, and keep them free for these.
local function add_rounds(reader, recorder, order, next, rounds)
    local ahead = stretch(next, next + rounds * #order - 1)
    for n, at in ipairs(ahead) do
        record(recorder, order[(n - 1) % #order + 1], at)
    end
    add_free(reader, ahead)
    return next + #ahead
end

local function cursor_for(reader, recorder, seen, seen_next)
    local generation, next = cursor_of(reader)
    if not generation and seen ~= '' and call('EXISTS', base .. ':z:' .. seen) == 0 then
        -- It was not removed: what this process has seen is all that is known of it.
        generation, next = seen, seen_next
    elseif not generation then
        generation, next = new_generation(), reserve(reader, recorder, 0)
    elseif generation == seen and next < seen_next then
        -- This process has seen more: what it writes to has lost it.
        next = seen_next
    end
    return generation, next
end

local function take_next(step)
    local reader, recorder, n, pool, lane, order = step[2], step[3], step[4], step[5], step[6], step[7]
    local generation, next = cursor_for(reader, recorder, step[10], step[11])
    local most = not pool and n or nil
    local free = {}
    if lane then
        next = reserve(reader, recorder, next)
        free = own(reader, recorder, lane, most)
        if order and #free < n then
            next = add_rounds(reader, recorder, order, next, n - #free)
            free = own(reader, recorder, lane, most)
        end
    end
    if #free < n or pool then
        for _, at in ipairs(free_for_all(reader, recorder, most)) do
            free[#free + 1] = at
        end
    end
    local positions = choose(free, next, n, pool)
    if lane then
        for _, at in ipairs(positions) do
            record(recorder, lane, at)
        end
    end
    set_cursor(reader, generation, math.max(next, positions[#positions] + 1))
    return positions, generation
end

-- Take of what is left of what another reader was given, for the one that resumes it.
local function take_left(step)
    local reader, other, n, pool, lane = step[2], step[3], step[4], step[5], step[6]
    local generation, next = cursor_of(reader)
    if not generation then
        local _, theirs = cursor_of(other)
        generation, next = new_generation(), theirs or 0
        local passed, given = {}, {}
        for _, at in ipairs(loose_of(other)) do
            passed[tonumber(at)] = true
        end
        for _, at in ipairs(stretch(0, next - 1)) do
            if not passed[at] then
                given[#given + 1] = at
            end
        end
        add_free(reader, given)
        set_cursor(reader, generation, next)
    end
    local most = not pool and n or nil
    local free = lane and own(reader, other, lane, most) or not lane and free_for_all(reader, other, most)
    local chosen, slots = {}, {}
    for _, at in ipairs(free) do
        if #chosen < n and distinct(slots, at, pool) then
            chosen[#chosen + 1] = at
            slots[pool and at % pool or at] = true
        end
    end
    return chosen, generation
end
