"""The person-following car: from what perception says about the target to bytes on the chassis' wire."""
