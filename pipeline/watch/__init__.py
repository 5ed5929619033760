"""Sessions as they are transcribed, for people who watch: `medstream watch`.

`board` keeps what is known of each session; `views`, `lines` and `table` show it (JSON for the page, lines, a
table); all pure. `reading` reads the topics, `viewers` show them on a terminal;
`access` (pure) says who may see the page `page/`, `web` and `serving` serve it.
"""
