"""Pages of organizations, teams, projects, principals and memberships."""
