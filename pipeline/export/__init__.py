"""Session transcripts as documents: one pure renderer for each format, from a session to text.

| module | format | for |
|---|---|---|
| `plain_text` | text | reading, mail, diff |
| `json_document` | JSON | programs; the records of all segments |
| `captions` | WebVTT, SRT | players and editors |
| `html_page` | HTML | looking: words on a timeline, confidence, voices, gaps; one file, no requests |

`speech` cuts segments into turns and cues for all of them, `formats` has the list, `lines` reads what
`consume --json` wrote. Documents are patient data.
"""
