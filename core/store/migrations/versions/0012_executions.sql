-- Revision 0012: executions of agents, their steps, and sessions with their messages.
-- Runs as hub_owner with search_path = hub, public.

-- A durable conversation with one agent. Its messages are a tree; what is shown is the way from the root to `head_id`.
CREATE TABLE sessions (
    org_id      uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id          uuid NOT NULL,
    agent_id    uuid NOT NULL,
    title       text NOT NULL,
    metadata    text NOT NULL,               -- JSON
    head_id     uuid,                        -- the last message of the branch that is shown
    active_id   uuid,                        -- the execution that is writing an answer
    version     bigint NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX sessions_by_agent ON sessions (org_id, agent_id, updated_at DESC, id DESC);

CREATE TABLE messages (
    org_id        uuid NOT NULL,
    id            uuid NOT NULL,
    session_id    uuid NOT NULL,
    parent_id     uuid,                      -- what it follows; NULL: it begins
    role          text NOT NULL CHECK (role IN ('user', 'assistant')),
    text          text NOT NULL,
    attachments   text NOT NULL,             -- JSON: [{name, content_type, text}]
    citations     text NOT NULL,             -- JSON
    execution_id  uuid,                      -- that wrote it; of a message of a person NULL
    created_by    text NOT NULL,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions ON DELETE CASCADE
);
CREATE INDEX messages_by_session ON messages (org_id, session_id, id);
CREATE INDEX messages_by_parent ON messages (org_id, session_id, parent_id);

-- One run of an agent. `attempt` is its fencing token: whoever takes it up adds one, and every write names the attempt. What the readers
-- of its room have is (attempt, sequence, text); `places` is where in each of its rooms that was said, NULL where nothing of this attempt was.
CREATE TABLE executions (
    org_id       uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
    id           uuid NOT NULL,
    agent_id     uuid NOT NULL,
    session_id   uuid,
    message_id   uuid,                       -- the message that it answers
    answer_id    uuid,                       -- the message that it has written
    parent_id    uuid,                       -- the execution that delegated to it
    parent_step  integer,                    -- and by which of its steps
    depth        integer NOT NULL,
    status       text NOT NULL
        CHECK (status IN ('queued', 'running', 'requires_action', 'completed', 'failed', 'cancelled')),
    query        text NOT NULL,
    context      text NOT NULL,              -- JSON, the caller's own
    options      text NOT NULL,              -- JSON: handlers/agents/executions/models.py, Options
    rights       text NOT NULL,              -- JSON: whose, and what it may touch (handlers/agents/executions/rights.py)
    attempt      bigint NOT NULL DEFAULT 0,
    sequence     bigint NOT NULL DEFAULT 0,
    text         text NOT NULL DEFAULT '',
    places       text,                       -- JSON: {channel: [offset, epoch]}
    action       text,                       -- JSON: what it waits for
    model        text,                       -- that wrote last
    citations    text NOT NULL DEFAULT '[]',
    usage        text NOT NULL DEFAULT '{}',
    error        text,                       -- JSON: code and message
    is_paused    boolean NOT NULL DEFAULT true,  -- whether nothing that its readers have is lost when it is taken up
    is_announced boolean NOT NULL DEFAULT true,  -- whether its rooms have heard of its end, or of what it waits for
    version      bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL,
    started_at   timestamptz,
    finished_at  timestamptz,
    deadline_at  timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
) WITH (fillfactor = 70);
CREATE INDEX executions_by_age ON executions (org_id, created_at DESC, id DESC);
CREATE INDEX executions_by_agent ON executions (org_id, agent_id, created_at DESC, id DESC);
CREATE INDEX executions_by_session ON executions (org_id, session_id, created_at DESC, id DESC) WHERE session_id IS NOT NULL;
CREATE INDEX executions_by_parent ON executions (org_id, parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX executions_open ON executions (deadline_at) WHERE status IN ('queued', 'running', 'requires_action');
CREATE INDEX executions_to_announce ON executions (id) WHERE NOT is_announced;

-- What it has done, in order; a step that has ended is not done again. `calls` of a model's step are what it asked to be called;
-- a tool's step is one of these.
CREATE TABLE execution_steps (
    org_id        uuid NOT NULL,
    execution_id  uuid NOT NULL,
    ordinal       integer NOT NULL,          -- from 1
    kind          text NOT NULL CHECK (kind IN ('model', 'tool')),
    name          text NOT NULL,             -- of the model, or of the tool
    status        text NOT NULL CHECK (status IN ('running', 'waiting', 'completed', 'failed')),
    attempt       bigint NOT NULL,           -- that began it
    sequence      bigint NOT NULL DEFAULT 0, -- of the last delta, once it has ended
    text          text NOT NULL DEFAULT '',  -- that a model wrote, as readers have it
    calls         text NOT NULL DEFAULT '[]',  -- JSON: [{id, name, arguments}]
    call_id       text,
    is_approved   boolean NOT NULL DEFAULT false,  -- a person has said yes to the call
    input         text,                      -- JSON: a tool's arguments
    output        text,                      -- what the model reads of a tool's result
    citations     text NOT NULL DEFAULT '[]',
    error         text,                      -- JSON: code and message
    usage         text NOT NULL DEFAULT '{}',
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    PRIMARY KEY (org_id, execution_id, ordinal),
    FOREIGN KEY (org_id, execution_id) REFERENCES executions ON DELETE CASCADE
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sessions', 'messages', 'executions', 'execution_steps'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_organisation ON %I TO hub_app USING (org_id = current_org())', name);
        EXECUTE format('CREATE POLICY commands ON %I TO hub_owner USING (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO hub_app', name);
    END LOOP;
END $$;
-- Announcing, and finding what nobody works on any more, is done for all organisations.
CREATE POLICY tending ON executions TO hub_system USING (true);
GRANT SELECT, UPDATE (is_announced) ON executions TO hub_system;
