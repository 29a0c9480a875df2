rule macro_that_runs_by_itself : document macro
{
    meta:
        description = "A macro that starts when the document is opened"
    strings:
        $start = /Sub (AutoOpen|Document_Open|Workbook_Open)/ nocase
        $shell = /(Shell|CreateObject)\s*\(/ nocase
    condition:
        $start and $shell
}

rule program_named_as_document : document
{
    meta:
        description = "A file name that hides a program behind a document's ending"
    strings:
        $name = /[\w-]+\.(pdf|docx?|xlsx?|jpg)\.(exe|scr|js)/ nocase
    condition:
        $name
}
