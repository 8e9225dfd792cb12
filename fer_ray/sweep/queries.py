"""The SQL of a sweep's ledger; `fer_ray.sweep.ledger` says what the tables hold."""

from fer_ray.contracts import DESCRIBED, ERRORS

TABLES = """
CREATE TABLE this (recipe VARCHAR, sweep VARCHAR, listed_ns BIGINT, gone VARCHAR);
CREATE TABLE listing (path VARCHAR, size BIGINT, mtime_ns BIGINT,
    subject VARCHAR, emotion VARCHAR, label TINYINT);
CREATE TABLE images (path VARCHAR, size BIGINT, mtime_ns BIGINT, sha256 VARCHAR, recipe VARCHAR,
    status VARCHAR, faces SMALLINT, subject VARCHAR, emotion VARCHAR, label TINYINT,
    listed_ns BIGINT);
CREATE TABLE result_rows (sha256 VARCHAR, face_index SMALLINT, status VARCHAR, stage VARCHAR,
    error VARCHAR, predicted VARCHAR);
CREATE VIEW known AS
    SELECT sha256, arg_min(row(status, stage, error), face_index + 1000 * (status NOT IN $ok)::INT)
        AS outcome, count(*) FILTER (status IN $ok) AS faces
    FROM result_rows GROUP BY sha256;
"""

# What is to be done about each path, the first reason that holds.
PLAN = """
CREATE OR REPLACE TABLE plan AS
SELECT coalesce(l.path, i.path) AS path, coalesce(l.size, i.size) AS size,
    coalesce(l.mtime_ns, i.mtime_ns) AS mtime_ns, l.subject, l.emotion, l.label,
    CASE WHEN l.path IS NULL THEN 'gone'
        WHEN i.path IS NULL THEN 'new'
        WHEN i.size <> l.size OR i.mtime_ns <> l.mtime_ns THEN 'changed'
        WHEN i.recipe <> ? THEN 'recipe'
        WHEN i.sha256 IS NULL AND ? <> 'none' AND i.status = 'unreadable' THEN 'failed'
        WHEN ? = 'all' AND i.status IN $errors THEN 'failed'
        WHEN i.sha256 IS NOT NULL AND k.sha256 IS NULL THEN 'missing'
        WHEN (l.subject, l.emotion, l.label) IS DISTINCT FROM (i.subject, i.emotion, i.label)
            THEN 'relabelled'
        ELSE 'same' END AS kind,
    CASE WHEN kind NOT IN ('new', 'changed') THEN i.sha256 END AS sha256,
    NULL::VARCHAR AS status, NULL::VARCHAR AS stage, NULL::VARCHAR AS error
FROM listing l FULL JOIN images i ON l.path = i.path
LEFT JOIN (SELECT DISTINCT sha256 FROM result_rows) k ON k.sha256 = i.sha256
"""

# What to publish: rows that another sweep has listed later are left as they are.
CHANGES = """
CREATE OR REPLACE VIEW changes AS
SELECT p.path, p.size, p.mtime_ns, p.sha256, (SELECT recipe FROM this) AS recipe,
    coalesce(p.status, k.outcome[1]) AS status, coalesce(p.stage, k.outcome[2]) AS stage,
    CASE WHEN p.status IS NULL THEN k.outcome[3] ELSE p.error END AS error,
    coalesce(k.faces, 0)::SMALLINT AS faces, p.subject, p.emotion, p.label,
    (SELECT sweep FROM this) AS sweep, (SELECT listed_ns FROM this) AS listed_ns, 'put' AS operation
FROM plan p LEFT JOIN known k ON k.sha256 = p.sha256 LEFT JOIN images i ON i.path = p.path
WHERE p.kind NOT IN ('same', 'gone') AND coalesce(p.status, k.outcome[1]) IS NOT NULL
    AND coalesce(i.listed_ns, 0) <= (SELECT listed_ns FROM this)
    AND (i.path IS NULL OR (i.size, i.mtime_ns, i.sha256, i.recipe, i.status, i.emotion, i.subject,
        i.label) IS DISTINCT FROM (p.size, p.mtime_ns, p.sha256, (SELECT recipe FROM this),
        coalesce(p.status, k.outcome[1]), p.emotion, p.subject, p.label))
UNION ALL
SELECT i.path, i.size, i.mtime_ns, i.sha256, i.recipe, i.status, '', NULL, i.faces, i.subject,
    i.emotion, i.label, (SELECT sweep FROM this), (SELECT listed_ns FROM this), 'delete'
FROM plan p JOIN images i ON i.path = p.path
WHERE p.kind = 'gone' AND (SELECT gone FROM this) = 'delete'
    AND i.listed_ns <= (SELECT listed_ns FROM this)
"""


EXAMPLES = """
SELECT i.status, coalesce(p.error, k.outcome[3], '') AS why, count(*) AS n,
    list(i.path ORDER BY i.path)[:5]
FROM images i LEFT JOIN plan p USING (path) LEFT JOIN known k ON k.sha256 = i.sha256
WHERE i.status IN $errors GROUP BY ALL ORDER BY n DESC, 1, 2 LIMIT 50
"""

WANTED = (
    "FROM plan p WHERE kind NOT IN ('same', 'gone') AND sha256 IS NOT NULL "
    "AND NOT EXISTS (SELECT 1 FROM result_rows r WHERE r.sha256 = p.sha256) GROUP BY sha256"
)


def filled(query: str) -> str:
    """Statuses written out where a query names them; they are this package's own words."""
    lists = {"$ok": DESCRIBED, "$errors": ERRORS}
    for name, statuses in lists.items():
        query = query.replace(name, "(" + ", ".join(f"'{one.value}'" for one in statuses) + ")")
    return query
