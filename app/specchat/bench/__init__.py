"""`specchat bench`: from options to a plan, from measurements to tables, JSON and plots; and `specchat estimate`."""
