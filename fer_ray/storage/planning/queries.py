"""The SQL of a sweep, on one partition of its images or contents."""

from fer_ray.vocabulary import ERROR_STATUSES, USABLE_STATUSES

CONTEXT = """
CREATE TABLE context (recipe VARCHAR, sweep VARCHAR, listed_ns BIGINT, gone VARCHAR, retry VARCHAR,
    max_bytes BIGINT, reread DOUBLE, folder_labels BOOLEAN);
"""

# Of a partition by path: the listing, the labels of labels.csv, the images of the store, and what
# unfinished sweeps have read.
IMAGES = """
CREATE TABLE images (path VARCHAR, size BIGINT, mtime_ns BIGINT, sha256 VARCHAR, recipe VARCHAR,
    status VARCHAR, stage VARCHAR, error VARCHAR, faces SMALLINT, subject VARCHAR, emotion VARCHAR,
    label TINYINT, sweep VARCHAR, listed_ns BIGINT);
"""
LISTING = """
CREATE TABLE entries (path VARCHAR, size BIGINT, mtime_ns BIGINT, problem VARCHAR,
    subject VARCHAR, emotion VARCHAR, label TINYINT);
CREATE TABLE labels (path VARCHAR, subject VARCHAR, emotion VARCHAR, label TINYINT);
CREATE TABLE readings (path VARCHAR, size BIGINT, mtime_ns BIGINT, sha256 VARCHAR);
"""

# The kind of each path, by the first reason that applies, and what is known without reading it: its
# content, or why it cannot be read.
PLAN = """
CREATE VIEW listing AS SELECT e.path, e.size, e.mtime_ns, e.problem,
    coalesce(b.subject, CASE WHEN folder_labels THEN e.subject END) AS subject,
    coalesce(b.emotion, CASE WHEN folder_labels THEN e.emotion END) AS emotion,
    coalesce(b.label, CASE WHEN folder_labels THEN e.label END) AS label
    FROM entries e LEFT JOIN labels b ON b.path = e.path CROSS JOIN context;
CREATE TABLE plan AS
WITH joined AS (
    SELECT coalesce(l.path, i.path) AS path, coalesce(l.size, i.size) AS size,
        coalesce(l.mtime_ns, i.mtime_ns) AS mtime_ns, l.subject, l.emotion, l.label,
        CASE WHEN l.path IS NULL THEN 'gone'
            WHEN i.path IS NULL THEN 'new'
            WHEN i.size <> l.size OR i.mtime_ns <> l.mtime_ns THEN 'changed'
            WHEN i.recipe <> context.recipe THEN 'recipe'
            WHEN i.status IN $errors AND coalesce(i.error <> l.problem, true) AND (retry = 'all'
                OR retry = 'unread' AND i.sha256 IS NULL AND i.status <> 'too_large') THEN 'failed'
            WHEN l.problem IS NULL AND i.sha256 IS NOT NULL
                AND hash(l.path, context.sweep) % 1000000 < 1000000 * reread THEN 'reread'
            WHEN (l.subject, l.emotion, l.label) IS DISTINCT FROM (i.subject, i.emotion, i.label)
                THEN 'relabelled'
            ELSE 'same' END AS kind,
        CASE WHEN l.problem IS NOT NULL THEN 'unreadable'
            WHEN l.size > max_bytes THEN 'too_large'
            WHEN kind = 'relabelled' AND i.sha256 IS NULL THEN i.status END AS unread,
        coalesce(l.problem, CASE unread WHEN 'too_large'
            THEN format('{} bytes; decode.max_bytes is {}', l.size, max_bytes) ELSE i.error END)
            AS why,
        i.sha256 AS stored
    FROM listing l FULL JOIN images i ON l.path = i.path CROSS JOIN context
)
SELECT s.path, s.size, s.mtime_ns, s.subject, s.emotion, s.label, s.kind,
    CASE WHEN unread IS NOT NULL THEN NULL
        WHEN kind IN ('new', 'changed') THEN r.sha256
        WHEN kind <> 'reread' THEN stored END AS sha256,
    CASE WHEN kind NOT IN ('same', 'gone') THEN unread END AS status,
    CASE WHEN kind NOT IN ('same', 'gone') AND unread IS NOT NULL THEN 'decode' END AS stage,
    CASE WHEN kind NOT IN ('same', 'gone') AND unread IS NOT NULL THEN why END AS error
FROM joined s LEFT JOIN (SELECT path, size, mtime_ns, any_value(sha256) AS sha256 FROM readings
    WHERE sha256 IS NOT NULL GROUP BY ALL HAVING count(DISTINCT sha256) = 1) r
    ON r.path = s.path AND r.size = s.size AND r.mtime_ns = s.mtime_ns
"""
PLANNED = "SELECT kind, count(*), coalesce(sum(size), 0)::BIGINT FROM plan GROUP BY kind"
CHANGED = "SELECT * EXCLUDE (sha256) FROM plan WHERE kind <> 'same'"
WITH_CONTENT = """
SELECT path, size, sha256, kind FROM plan
WHERE sha256 IS NOT NULL AND status IS NULL AND kind <> 'gone'
"""
UNREAD = """
SELECT path, size, mtime_ns, NULL::VARCHAR AS sha256, false AS retried FROM plan
WHERE kind NOT IN ('same', 'gone') AND sha256 IS NULL AND status IS NULL ORDER BY path
"""
WITHOUT_IMAGE = "SELECT path FROM labels ANTI JOIN entries USING (path) ORDER BY path"
# Samples are the same each time.
KNOWN_SAMPLE = """
SELECT hash(path), path FROM plan WHERE sha256 IS NOT NULL AND kind <> 'gone' ORDER BY ALL LIMIT
"""
UNREAD_SAMPLE = f"SELECT hash(path), path FROM ({UNREAD}) ORDER BY ALL LIMIT"
GONE = "SELECT path FROM plan WHERE kind = 'gone' ORDER BY path LIMIT"
LABELLED = "count(*) FILTER (emotion IS NOT NULL OR subject IS NOT NULL)"

# Of a partition by content: the images of each content, and its results. `round` counts how often
# images were read; a content that an image no longer has is `retracted`.
CONTENTS = """
CREATE TABLE with_content (path VARCHAR, size BIGINT, sha256 VARCHAR, kind VARCHAR);
CREATE TABLE outcomes (path VARCHAR, sha256 VARCHAR, retracted BOOLEAN NOT NULL,
    round INTEGER);
CREATE TABLE result_rows (sha256 VARCHAR, recipe VARCHAR, sweep VARCHAR, face_index SMALLINT,
    status VARCHAR, stage VARCHAR, error VARCHAR);
"""

# Results of contents to retry count only if they are of this sweep.
SETTLE = """
CREATE TABLE content_of AS WITH found AS (
    SELECT path, size, sha256, kind, 0 AS round FROM with_content UNION ALL
    SELECT path, 0, sha256, 'read', round FROM outcomes WHERE NOT retracted)
SELECT DISTINCT path, size, sha256, kind FROM found f WHERE NOT EXISTS (SELECT 1 FROM outcomes o
    WHERE o.retracted AND o.path = f.path AND o.sha256 = f.sha256 AND o.round > f.round);
CREATE TABLE failed AS SELECT DISTINCT sha256 FROM content_of WHERE kind = 'failed';
CREATE TABLE known AS
    SELECT sha256, arg_min(row(status, stage, error), face_index + 1000 * (status NOT IN $ok)::INT)
        AS outcome, count(*) FILTER (status IN $ok) AS faces,
        bool_and(r.sweep = context.sweep) AS processed
    FROM result_rows r CROSS JOIN context WHERE r.recipe = context.recipe
        AND (r.sweep = context.sweep OR NOT EXISTS (SELECT 1 FROM failed f
            WHERE f.sha256 = r.sha256))
    GROUP BY sha256;
CREATE TABLE missing AS SELECT c.* FROM content_of c ANTI JOIN known USING (sha256)
    WHERE kind IN ('same', 'relabelled');
UPDATE content_of SET kind = 'missing' FROM missing m WHERE content_of.path = m.path;
"""
MISSING = "SELECT kind, count(*), coalesce(sum(size), 0)::BIGINT FROM missing GROUP BY kind"
TO_PROCESS = """
SELECT min(path) AS path, NULL::BIGINT AS size, NULL::BIGINT AS mtime_ns, sha256,
    sha256 IN (SELECT f.sha256 FROM failed f SEMI JOIN result_rows r USING (sha256)) AS retried
FROM content_of ANTI JOIN known USING (sha256) WHERE kind <> 'same' GROUP BY sha256 ORDER BY path
"""
TO_PROCESS_SAMPLE = f"SELECT hash(path), path FROM ({TO_PROCESS}) ORDER BY ALL LIMIT"
SETTLED = """
SELECT path, sha256, outcome[1] AS status, outcome[2] AS stage, outcome[3] AS error,
    faces::SMALLINT AS faces FROM content_of JOIN known USING (sha256)
WHERE kind <> 'same' OR processed
"""

# The rows to publish. Rows that another sweep has listed later do not change.
OUTCOMES = """
CREATE TABLE plan (path VARCHAR, size BIGINT, mtime_ns BIGINT, subject VARCHAR, emotion VARCHAR,
    label TINYINT, kind VARCHAR, status VARCHAR, stage VARCHAR, error VARCHAR);
CREATE TABLE settled (path VARCHAR, sha256 VARCHAR, status VARCHAR, stage VARCHAR, error VARCHAR,
    faces SMALLINT DEFAULT 0); -- images that could not be read have none
"""
CHANGES = """
CREATE TABLE outcome AS SELECT * FROM settled UNION ALL
    SELECT path, NULL, status, stage, error, 0 FROM plan WHERE status IS NOT NULL;
CREATE TABLE puts AS WITH latest AS (
    SELECT o.path, coalesce(p.size, i.size) AS size, coalesce(p.mtime_ns, i.mtime_ns) AS mtime_ns,
        o.sha256, context.recipe, o.status, coalesce(o.stage, 'decode') AS stage, o.error, o.faces,
        CASE WHEN p.path IS NULL THEN i.subject ELSE p.subject END AS subject,
        CASE WHEN p.path IS NULL THEN i.emotion ELSE p.emotion END AS emotion,
        CASE WHEN p.path IS NULL THEN i.label ELSE p.label END AS label,
        context.sweep, context.listed_ns
    FROM outcome o LEFT JOIN plan p ON p.path = o.path LEFT JOIN images i ON i.path = o.path
        CROSS JOIN context
    WHERE coalesce(i.listed_ns, 0) <= context.listed_ns
        AND (p.path IS NOT NULL OR i.path IS NOT NULL)
)
SELECT l.*, i.path IS NOT NULL AS replaced FROM latest l LEFT JOIN images i ON i.path = l.path
WHERE i.path IS NULL OR (i.size, i.mtime_ns, i.sha256, i.recipe, i.status, i.error, i.emotion,
    i.subject, i.label) IS DISTINCT FROM (l.size, l.mtime_ns, l.sha256, l.recipe, l.status, l.error,
    l.emotion, l.subject, l.label);
CREATE TABLE deletes AS SELECT i.path FROM plan p JOIN images i ON i.path = p.path CROSS JOIN
    context WHERE p.kind = 'gone' AND context.gone = 'delete' AND i.listed_ns <= context.listed_ns;
"""
COUNTS = """
SELECT (SELECT count(*) FROM puts), (SELECT count(*) FROM deletes),
    (SELECT count(*) FROM puts WHERE replaced)
"""
PUBLISHED = """
CREATE TABLE published AS
SELECT * FROM images WHERE path NOT IN (SELECT path FROM puts)
    AND path NOT IN (SELECT path FROM deletes)
UNION ALL BY NAME SELECT * EXCLUDE (replaced) FROM puts ORDER BY path
"""

STATUSES = "SELECT status, count(*), min(path, 5) FROM {table} GROUP BY status ORDER BY status"
MAX_KINDS = 1_000  # kinds of failures per partition that are counted
FAILURES = f"""
SELECT status, coalesce(error, '') AS why, count(*) AS n, min(path, 5)
FROM {{table}} WHERE status IN $errors GROUP BY ALL ORDER BY n DESC, 1, 2 LIMIT {MAX_KINDS}
"""

# Results without an image, for a partition by content.
USES = """
CREATE TABLE uses (sha256 VARCHAR, recipe VARCHAR, latest BOOLEAN);
CREATE TABLE keys (sha256 VARCHAR, recipe VARCHAR, sweep VARCHAR, file VARCHAR);
CREATE TABLE finished (sweep VARCHAR);
"""
ORPHANS = """
CREATE TABLE orphans AS SELECT k.file, k.sha256, k.recipe, EXISTS (SELECT 1 FROM uses u
        WHERE u.sha256 = k.sha256 AND u.recipe = k.recipe) AS waiting
FROM (SELECT DISTINCT sha256, recipe, sweep, file FROM keys) k
WHERE (k.sweep < $1 OR k.sweep IN (SELECT sweep FROM finished))
    AND NOT EXISTS (SELECT 1 FROM uses u
        WHERE u.latest AND u.sha256 = k.sha256 AND u.recipe = k.recipe)
"""
ORPHAN_COUNTS = """
SELECT count(DISTINCT (sha256, recipe)) FILTER (NOT waiting),
    count(DISTINCT (sha256, recipe)) FILTER (waiting) FROM orphans
"""


def with_statuses(query: str) -> str:
    """Replace the placeholders `$ok` and `$errors` with lists of statuses."""
    lists = {"$ok": USABLE_STATUSES, "$errors": ERROR_STATUSES}
    for placeholder, statuses in lists.items():
        values = ", ".join(f"'{status.value}'" for status in statuses)
        query = query.replace(placeholder, f"({values})")
    return query
