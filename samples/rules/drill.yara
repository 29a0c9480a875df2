rule drill_marker : drill
{
    meta:
        description = "The harmless line that marks a file of a fire drill"
    strings:
        $marker = "OMSTD-FIRE-DRILL: this file is harmless"
    condition:
        $marker
}
