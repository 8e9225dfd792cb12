"""The SQL of a sweep's ledger. `fer_ray.storage.ledger.ledger` describes the tables."""

from fer_ray.vocabulary import ERROR_STATUSES, USABLE_STATUSES

TABLES = """
CREATE TABLE context (recipe VARCHAR, sweep VARCHAR, listed_ns BIGINT, gone VARCHAR, retry VARCHAR,
    max_bytes BIGINT, reread DOUBLE);
CREATE TABLE listing (path VARCHAR, size BIGINT, mtime_ns BIGINT, problem VARCHAR,
    subject VARCHAR, emotion VARCHAR, label TINYINT);
CREATE TABLE images (path VARCHAR, size BIGINT, mtime_ns BIGINT, sha256 VARCHAR, recipe VARCHAR,
    status VARCHAR, error VARCHAR, faces SMALLINT, subject VARCHAR, emotion VARCHAR, label TINYINT,
    listed_ns BIGINT);
CREATE TABLE readings (path VARCHAR, size BIGINT, mtime_ns BIGINT, sha256 VARCHAR);
CREATE TABLE result_rows (sha256 VARCHAR, face_index SMALLINT, status VARCHAR, stage VARCHAR,
    error VARCHAR);
CREATE TABLE retried (sha256 VARCHAR);
CREATE TABLE outcomes (path VARCHAR, sha256 VARCHAR, status VARCHAR, stage VARCHAR, error VARCHAR);
CREATE VIEW known AS
    SELECT sha256, arg_min(row(status, stage, error), face_index + 1000 * (status NOT IN $ok)::INT)
        AS outcome, count(*) FILTER (status IN $ok) AS faces
    FROM result_rows GROUP BY sha256;
"""

# The kind of each path, by the first reason that applies, and what is known without reading it: its
# content, or why it cannot be read.
PLAN = """
CREATE OR REPLACE TABLE plan AS
WITH joined AS (
    SELECT coalesce(l.path, i.path) AS path, coalesce(l.size, i.size) AS size,
        coalesce(l.mtime_ns, i.mtime_ns) AS mtime_ns, l.subject, l.emotion, l.label,
        CASE WHEN l.path IS NULL THEN 'gone'
            WHEN i.path IS NULL THEN 'new'
            WHEN i.size <> l.size OR i.mtime_ns <> l.mtime_ns THEN 'changed'
            WHEN i.recipe <> context.recipe THEN 'recipe'
            WHEN i.status IN $errors AND coalesce(i.error <> l.problem, true) AND (retry = 'all'
                OR retry = 'unread' AND i.sha256 IS NULL AND i.status <> 'too_large') THEN 'failed'
            WHEN i.sha256 IS NOT NULL AND k.sha256 IS NULL THEN 'missing'
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
    FROM listing l FULL JOIN images i ON l.path = i.path
    LEFT JOIN (SELECT DISTINCT sha256 FROM result_rows) k ON k.sha256 = i.sha256
    CROSS JOIN context
)
SELECT s.path, s.size, s.mtime_ns, s.subject, s.emotion, s.label, s.kind,
    CASE WHEN unread IS NOT NULL THEN NULL
        WHEN kind IN ('new', 'changed') THEN r.sha256
        WHEN kind <> 'reread' THEN stored END AS sha256,
    CASE WHEN kind NOT IN ('same', 'gone') THEN unread END AS status,
    CASE WHEN kind NOT IN ('same', 'gone') AND unread IS NOT NULL THEN 'decode' END AS stage,
    CASE WHEN kind NOT IN ('same', 'gone') AND unread IS NOT NULL THEN why END AS error
FROM joined s LEFT JOIN (SELECT path, size, mtime_ns, any_value(sha256) AS sha256 FROM readings
    GROUP BY ALL HAVING count(DISTINCT sha256) = 1) r
    ON r.path = s.path AND r.size = s.size AND r.mtime_ns = s.mtime_ns
"""

# Contents to retry count as having no results. The store keeps theirs until it has new ones.
RETRIED = """
INSERT INTO retried SELECT DISTINCT p.sha256 FROM plan p SEMI JOIN result_rows r
    ON r.sha256 = p.sha256 WHERE p.kind = 'failed' AND p.status IS NULL;
DELETE FROM result_rows WHERE sha256 IN (SELECT sha256 FROM retried);
"""

# Images whose content is unknown, and one image of each known content without results.
TO_READ = """
FROM plan WHERE kind NOT IN ('same', 'gone') AND sha256 IS NULL AND status IS NULL
"""
TO_DESCRIBE = """
FROM plan p WHERE kind NOT IN ('same', 'gone') AND sha256 IS NOT NULL AND status IS NULL
    AND NOT EXISTS (SELECT 1 FROM result_rows r WHERE r.sha256 = p.sha256) GROUP BY sha256
"""

APPLY_OUTCOMES = """
UPDATE plan SET sha256 = f.sha256, status = f.status, stage = f.stage, error = f.error
    FROM outcomes f WHERE plan.path = f.path;
DELETE FROM outcomes;
"""

# The rows to publish. Rows that another sweep has listed later do not change.
CHANGES = """
CREATE OR REPLACE VIEW changes AS
SELECT p.path, p.size, p.mtime_ns, p.sha256, (SELECT recipe FROM context) AS recipe,
    coalesce(p.status, k.outcome[1]) AS status, coalesce(p.stage, k.outcome[2]) AS stage,
    CASE WHEN p.status IS NULL THEN k.outcome[3] ELSE p.error END AS error,
    coalesce(k.faces, 0)::SMALLINT AS faces, p.subject, p.emotion, p.label,
    (SELECT sweep FROM context) AS sweep, (SELECT listed_ns FROM context) AS listed_ns,
    'put' AS operation
FROM plan p LEFT JOIN known k ON k.sha256 = p.sha256 LEFT JOIN images i ON i.path = p.path
WHERE p.kind NOT IN ('same', 'gone') AND coalesce(p.status, k.outcome[1]) IS NOT NULL
    AND coalesce(i.listed_ns, 0) <= (SELECT listed_ns FROM context)
    AND (i.path IS NULL OR (i.size, i.mtime_ns, i.sha256, i.recipe, i.status, i.error, i.emotion,
        i.subject, i.label) IS DISTINCT FROM (p.size, p.mtime_ns, p.sha256,
        (SELECT recipe FROM context), coalesce(p.status, k.outcome[1]),
        CASE WHEN p.status IS NULL THEN k.outcome[3] ELSE p.error END, p.emotion, p.subject,
        p.label))
UNION ALL
SELECT i.path, i.size, i.mtime_ns, i.sha256, i.recipe, i.status, '', NULL, i.faces, i.subject,
    i.emotion, i.label, (SELECT sweep FROM context), (SELECT listed_ns FROM context), 'delete'
FROM plan p JOIN images i ON i.path = p.path
WHERE p.kind = 'gone' AND (SELECT gone FROM context) = 'delete'
    AND i.listed_ns <= (SELECT listed_ns FROM context)
"""

EXAMPLES = """
SELECT status, coalesce(error, '') AS why, count(*) AS n, min(path, 5)
FROM images WHERE status IN $errors GROUP BY ALL ORDER BY n DESC, 1, 2 LIMIT 50
"""

LABELLED = "count(*) FILTER (emotion IS NOT NULL OR subject IS NOT NULL)"


def with_statuses(query: str) -> str:
    """Replace the placeholders `$ok` and `$errors` with lists of statuses."""
    lists = {"$ok": USABLE_STATUSES, "$errors": ERROR_STATUSES}
    for placeholder, statuses in lists.items():
        values = ", ".join(f"'{status.value}'" for status in statuses)
        query = query.replace(placeholder, f"({values})")
    return query
